#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>
#include <vector>

#include "comm/agree.h"
#include "comm/base/error.h"
#include "comm/groups.h"
#include "trainer/batch_plan.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/store.h"
#include "trainer/checkpoint/weights.h"
#include "trainer/commands/agree_at_start.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/setup.h"
#include "trainer/determinism.h"
#include "trainer/evaluate.h"
#include "trainer/nn/state.h"

namespace largo::commands {

namespace {

namespace fs = std::filesystem;

// Whole or damaged.
bool is_checkpoint(const fs::path& folder) {
  for (const char* name : {checkpoint::kDoneFile, checkpoint::kManifestFile, "model.safetensors"}) {
    if (fs::exists(folder / name)) return true;
  }
  return false;
}

// From the file itself, a finished run's folder, or a checkpoint's, of which every byte must be as
// it was written: all files belong to one state.
void load_weights(const fs::path& given, const checkpoint::NamedTensors& into) {
  if (fs::is_directory(given) && is_checkpoint(given)) {
    const fs::path file = given / "model.safetensors";
    const checkpoint::CheckpointBytes files = checkpoint::read_checkpoint(given);
    const auto model = files.find("model.safetensors");
    if (model == files.end()) {
      fail(ExitCode::kBadData, file.string(), " is not in the checkpoint's ",
           checkpoint::kManifestFile);
    }
    return checkpoint::copy_into(into, checkpoint::parse_tensors(model->second, file.string()),
                                 file.string());
  }
  for (const fs::path& file : {given, given / "weights.safetensors"}) {
    if (!fs::is_regular_file(file)) continue;
    return checkpoint::copy_into(into, checkpoint::load_tensors(file), file.string());
  }
  fail(ExitCode::kInputMissing, "--checkpoint ", given.string(),
       " is neither a safetensors file nor a folder with model.safetensors (a checkpoint) or "
       "weights.safetensors (a finished run)");
}

// How the run's own evaluations cut the set: run.determinism. The same on every rank.
int64_t virtual_workers_of(const config::LoadedConfig& config, const ChosenDevice& device,
                           int world) {
  const RunOptions& run = config.values.run;
  auto unfit = check_determinism_on(run, /*on_gpus=*/!device.device.is_cpu());
  if (auto problem = check_shares(virtual_workers(run), world)) {
    unfit.push_back(std::move(*problem));
  }
  if (!unfit.empty()) throw config.error(unfit);
  return virtual_workers(run);
}

int evaluate_checkpoint(const EvalArguments& arguments, const comm::MpiSession& session, Log& log) {
  const config::LoadedConfig config = load_on_all_ranks(session, log, arguments.config);
  const config::RunConfig& values = config.values;
  const ChosenDevice device = set_up_device(session, values.run, log);
  warn_of_denormals(session, config, device, log);
  const int64_t workers = virtual_workers_of(config, device, session.size());

  if (values.train.precision == Precision::kAuto) {
    log.note("train.precision auto: evaluated in float32");
  }
  const Catalogs catalogs = make_catalogs();
  const std::string index = data_index_on_all_ranks(config, catalogs, session, log);
  data::DataInfo info;
  comm::on_all_ranks(session, [&] {
    info = describe_data(config, catalogs, index);
    const auto problems = catalogs.models.check(model_spec(config, info));
    if (!problems.empty()) throw config.error(problems);
  });
  agree_on_data(session, config, catalogs, index, info, device.device);
  const data::Datasets sets = load_data(config, catalogs, index, info, session);
  // Evaluation sums a few numbers only, on the host; the layers communicate in training alone.
  comm::CommOptions through_host = values.comm;
  through_host.backend = comm::Backend::kMpi;
  std::vector<int> all(static_cast<size_t>(session.size()));
  std::iota(all.begin(), all.end(), 0);
  const comm::Groups groups = comm::make_groups(
      through_host, session,
      {.device = device.device, .overlap = false, .norm_ranks = all, .log_folder = {}});
  const auto model = make_model(session, config, catalogs, info, groups, device.device);
  const Compute compute = {.device = device.device,
                           .autocast = autocast_of(values.train.precision)};
  comm::on_rank_zero(session,
                     [&] { load_weights(arguments.checkpoint, nn::state_tensors(*model)); });
  for (auto& [name, tensor] : nn::state_tensors(*model)) {
    groups.world->broadcast(tensor.detach(), 0);
  }
  model->eval();
  data::SkippedSamples skipped(sets.val->size(),
                               [&](const std::string& message) { log.warn_of_rank(message); });
  const bool skips = values.data.on_bad_sample == data::OnBadSample::kSkip;
  const EvalResult result = evaluate(
      *model, *sets.val,
      for_device(eval_transform(config, info, sets), device.device, values.train.precision),
      values.eval.batch, values.data.workers, *groups.world, skips ? &skipped : nullptr, compute,
      workers);
  if (session.rank() == 0) {
    const nlohmann::ordered_json json = {{"split", "val"},
                                         {"loss", result.loss},
                                         {"top1", result.top1},
                                         {"top5", result.top5},
                                         {"confidence", result.confidence},
                                         {"samples", result.samples}};
    std::printf("%s\n", json.dump().c_str());
  }
  return 0;
}

}  // namespace

int run_eval(const EvalArguments& arguments, ProgramArguments program) {
  const comm::MpiSession session(program.argc, program.argv,
                                 init_timeout_s(arguments.config.overrides));
  Log log;
  log.set_rank(session.rank(), session.size(), session.host());
  return guarded(session, log, [&] { return evaluate_checkpoint(arguments, session, log); });
}

}  // namespace largo::commands
