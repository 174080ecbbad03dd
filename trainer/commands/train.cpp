#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/agree.h"
#include "comm/base/as_agreed.h"
#include "comm/base/error.h"
#include "comm/gradient_reducer.h"
#include "comm/groups.h"
#include "trainer/checkpoint/checkpointer.h"
#include "trainer/checkpoint/run_directory.h"
#include "trainer/checkpoint/weights.h"
#include "trainer/commands/build_info.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/setup.h"
#include "trainer/config/config_print.h"
#include "trainer/metrics/environment.h"
#include "trainer/nn/state.h"
#include "trainer/trainer.h"

namespace largo::commands {

namespace {

namespace fs = std::filesystem;

// What rank 0 found in the run directory, as all ranks know it.
struct Start {
  fs::path directory;
  bool finished = false;
};

// The run directory is rank 0's to open, lock and judge.
Start open_directory(const TrainArguments& arguments, const config::LoadedConfig& config,
                     const comm::MpiSession& session,
                     std::optional<checkpoint::RunDirectory>& opened) {
  comm::on_rank_zero(session, [&] {
    const RunOptions& run = config.values.run;
    opened.emplace(checkpoint::RunDirectory::open(run.output, run.name, arguments.fresh));
    if (opened->state() == checkpoint::RunState::kNew) return;
    const fs::path saved_file = opened->config_yaml();
    if (!fs::exists(saved_file)) return;
    const auto saved = config::load_config(read_config_file(saved_file), {});
    const auto differences = config::trajectory_differences(saved.values, config.values);
    if (differences.empty()) return;
    std::string list;
    for (const std::string& difference : differences) list += "\n  " + difference;
    fail(ExitCode::kConfig, opened->path().string(),
         " holds a run with another configuration:", list,
         "\nGive this one another run.name, or start it anew with --fresh (the old directory is "
         "kept under another name)");
  });
  std::string found;
  if (session.rank() == 0) {
    found =
        (opened->state() == checkpoint::RunState::kFinished ? "F" : "U") + opened->path().string();
  }
  found = session.broadcast(found);
  return {found.substr(1), found.front() == 'F'};
}

std::string environment_json(const comm::MpiSession& session, ProgramArguments program,
                             int threads) {
  metrics::RunEnvironment environment = {.version = version(),
                                         .commit = commit(),
                                         .build_type = build_type(),
                                         .mpi = session.library_version()};
  environment.command_line.assign(program.argv, program.argv + program.argc);
  for (const std::string& host : session.all_gather(session.host())) {
    environment.ranks.push_back({.host = host, .device = "cpu", .threads = threads});
  }
  return metrics::to_json(environment);
}

std::string describe_norm(const config::RunConfig& config, const BatchPlan& plan,
                          size_t norm_ranks) {
  const auto sees = [](int64_t samples) {
    return concat("normalization sees ", samples, " samples");
  };
  const nn::NormOptions& norm = config.model.norm;
  switch (norm.kind) {
    case nn::NormKind::kBatch:
      return sees(plan.micro_batch());
    case nn::NormKind::kSyncBatch:
      if (plan.accumulation() == 1 && static_cast<int64_t>(norm_ranks) == plan.world()) {
        return sees(plan.global_batch());
      }
      return sees(plan.micro_batch() * static_cast<int64_t>(norm_ranks));
    case nn::NormKind::kGhostBatch:
      return sees(std::min(norm.virtual_batch, plan.micro_batch()));
    case nn::NormKind::kGroup:
    case nn::NormKind::kLayer:
    case nn::NormKind::kInstance:
      return "normalization sees single samples";
    case nn::NormKind::kNone:
      return "no normalization";
  }
  return {};
}

// The checkpoint to go on from: what checkpoint.resume names, or the newest complete one.
std::optional<fs::path> find_checkpoint(const checkpoint::CheckpointOptions& options,
                                        checkpoint::Checkpointer& checkpoints) {
  if (options.resume == "never") return std::nullopt;
  if (options.resume == "auto") return checkpoints.latest();
  return fs::path(options.resume);
}

int train(const TrainArguments& arguments, const comm::MpiSession& session, Log& log,
          ProgramArguments program) {
  const config::LoadedConfig config = load_on_all_ranks(session, log, arguments.config);
  const config::RunConfig& values = config.values;
  const bool main_rank = session.rank() == 0;
  pick_device(session, values.run.device);
  const int threads = set_up_threads(session, values.run);

  // Everything that can be wrong with the input, before anything is written or computed.
  const Catalogs catalogs = make_catalogs();
  const std::string index = data_index_on_all_ranks(config, catalogs, session, log);
  std::optional<Prepared> prepared;
  comm::on_all_ranks(session,
                     [&] { prepared.emplace(prepare(config, catalogs, index, session.size())); });
  const data::DataInfo& info = prepared->info;
  const BatchPlan& plan = prepared->plan;
  const optim::LrSchedule& schedule = prepared->schedule;

  std::optional<checkpoint::RunDirectory> directory;
  const Start start = open_directory(arguments, config, session, directory);
  if (start.finished) {
    log.note(concat("The run in ", start.directory.string(),
                    " is finished; nothing was done. To train it afresh, add --fresh (the old "
                    "directory is kept under another name)"));
    if (main_rank) std::printf("%s\n", start.directory.c_str());
    return 0;
  }

  const uint64_t seed = static_cast<uint64_t>(values.run.seed);
  const data::Datasets sets = load_data(config, catalogs, index, info, session);

  const bool overlap = comm::use_overlap(values.comm, session, threads);
  const std::vector<int> of_norms = norm_ranks(values.model.norm, session);
  const comm::Groups groups = comm::make_groups(values.comm, session, overlap, of_norms.front());
  const auto model = make_model(config, catalogs, info, *groups.world, *groups.norms);
  nn::RunningStatistics statistics(*model);
  std::vector<optim::Parameter> parameters;
  std::vector<torch::Tensor> leaves;
  for (const nn::NamedParameter& parameter : nn::named_parameters(*model)) {
    parameters.push_back({parameter.name, parameter.tensor, parameter.norm_or_bias});
    leaves.push_back(parameter.tensor);
  }
  const auto optimizer = optim::make_optimizer(values.optimizer, parameters);
  std::optional<optim::WeightAverage> average;
  if (values.train.ema.decay) {
    average.emplace(*values.train.ema.decay, *values.train.ema.at_batch, plan.global_batch(),
                    nn::state_tensors(*model));
  }
  optim::ScheduleController controller(schedule, plan.total_steps());

  checkpoint::Checkpointer checkpoints(values.checkpoint, start.directory / "checkpoints",
                                       *groups.world, log);
  RunState from;
  const auto found = find_checkpoint(values.checkpoint, checkpoints);
  if (found) {
    const checkpoint::LoadedState loaded = checkpoints.load(*found);
    as_agreed([&] {
      checkpoint::copy_into(nn::state_tensors(*model), loaded.model, found->string());
      checkpoint::NamedTensors optimizer_state = optimizer->state();
      if (average) {
        for (auto& tensor : average->state()) optimizer_state.push_back(std::move(tensor));
      }
      checkpoint::copy_into(optimizer_state, loaded.optimizer, found->string());
      from = run_state_from_json(loaded.json, (*found / "state.json").string());
      controller.restore(from.lr_state);
    });
  }
  comm::GradientReducer reducer(leaves, statistics.pending(), *groups.world,
                                {.bucket_bytes = values.comm.bucket_bytes,
                                 .first_bucket_bytes = values.comm.first_bucket_bytes,
                                 .overlap = overlap,
                                 .order = from.bucket_order});

  const std::string environment = environment_json(session, program, threads);
  metrics::Recorder recorder(session.rank(), start.directory);
  if (main_rank) log.tee_to(start.directory / "log.txt");
  recorder.write_file("config.yaml", config::print_config(config));
  recorder.write_file("environment.json", environment);
  log.note(concat("batch ", plan.describe(), "; ", describe_norm(values, plan, of_norms.size()),
                  "; ", schedule.describe()));
  log.note(concat(values.model.name, " on ", plan.train_samples(), " samples, ", plan.total_steps(),
                  " steps; ", session.size(), " x ", threads, threads == 1 ? " thread" : " threads",
                  ", overlap ", overlap ? "on" : "off", "; run directory ",
                  start.directory.string()));
  if (found) {
    log.note(concat("resumed from ", found->string(), " after step ", from.step));
    recorder.resume(from.step, session.size(), plan.global_batch(), *found);
  } else {
    recorder.start(session.size(), plan.global_batch());
  }

  metrics::Progress progress(log, plan.total_steps(), metrics::stderr_is_terminal());
  const auto save_result = [&](const std::string& split) {
    const char* file = split == "val" ? "weights.safetensors" : "weights_ema.safetensors";
    comm::on_rank_zero(session, [&] {
      checkpoint::save_tensors(start.directory / file, nn::state_tensors(*model),
                               {{"format", "pt"}, {"model", values.model.name}});
    });
  };
  Trainer trainer({.plan = plan,
                   .train = values.train,
                   .eval = values.eval,
                   .loss = values.loss,
                   .checkpoint = values.checkpoint,
                   .data = values.data,
                   .train_transform = train_transform(config, info, sets),
                   .eval_transform = eval_transform(config, info, sets),
                   .seed = seed,
                   .world = *groups.world,
                   .norm_ranks = of_norms,
                   .sets = sets,
                   .model = *model,
                   .statistics = statistics,
                   .reducer = reducer,
                   .optimizer = *optimizer,
                   .average = average ? &*average : nullptr,
                   .lr = controller,
                   .checkpoints = checkpoints,
                   .recorder = recorder,
                   .progress = progress,
                   .log = log,
                   .save_result = save_result},
                  from);
  metrics::Summary summary = {.name = values.run.name,
                              .seed = values.run.seed,
                              .world = session.size(),
                              .global_batch = plan.global_batch(),
                              .split = "val",
                              .config_hash = config::config_hash(values)};
  const auto finish = [&](metrics::RunStatus status, int64_t steps) {
    // The same sum on every rank; a failed rank's peers fail alike.
    torch::Tensor skipped = torch::full({1}, trainer.skipped(), torch::kLong);
    groups.world->all_reduce(skipped).wait();
    summary.skipped_samples = skipped.item<int64_t>();
    summary.status = status;
    summary.steps = steps;
    summary.time_s = trainer.time_s();
    summary.samples_per_s = trainer.timer().samples_per_s(plan.global_batch());
    summary.step_time = trainer.timer().times();
    recorder.write_summary(summary);
    recorder.end(status, steps, trainer.time_s());
  };
  try {
    finish(metrics::RunStatus::kDone, trainer.fit());
  } catch (const AgreedError&) {
    finish(metrics::RunStatus::kFailed, trainer.completed());
    throw;
  }
  if (main_rank) std::printf("%s\n", start.directory.c_str());
  return 0;
}

}  // namespace

int run_train(const TrainArguments& arguments, ProgramArguments program) {
  const comm::MpiSession session(program.argc, program.argv);
  Log log;
  log.set_rank(session.rank(), session.size(), session.host());
  return guarded(session, log, [&] { return train(arguments, session, log, program); });
}

}  // namespace largo::commands
