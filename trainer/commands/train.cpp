#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/agree.h"
#include "comm/base/as_agreed.h"
#include "comm/base/error.h"
#include "comm/gpu.h"
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
                             const ChosenDevice& device) {
  metrics::RunEnvironment environment = {
      .version = version(),
      .commit = commit(),
      .build_type = build_type(),
      .mpi = session.library_version(),
      .gpu = device.device.is_cpu() ? std::string() : comm::gpu_libraries()};
  environment.command_line.assign(program.argv, program.argv + program.argc);
  const auto hosts = session.all_gather(session.host());
  const auto devices = session.all_gather(device.name);
  for (size_t r = 0; r < hosts.size(); ++r) {
    environment.ranks.push_back(
        {.host = hosts[r], .device = devices[r], .threads = device.threads});
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

std::optional<at::ScalarType> wire_dtype(comm::WireType type) {
  if (type == comm::WireType::kBfloat16) return at::kBFloat16;
  return std::nullopt;
}

std::string describe_device(const ChosenDevice& device) {
  const std::string threads = concat(device.threads, device.threads == 1 ? " thread" : " threads");
  return device.device.is_cpu() ? threads : concat(device.name, ", ", threads);
}

// Of a device's allocator, the largest over the ranks; 0 on the CPU, which has none. A collective.
int64_t peak_memory(torch::Device device, comm::Communicator& world) {
  int64_t bytes = 0;
  if (!device.is_cpu()) {
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    bytes =
        stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  }
  return world.all_gather(torch::full({1}, bytes, torch::kLong)).max().item<int64_t>();
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
  const ChosenDevice device = set_up_device(session, values.run, log);
  const auto unfit = comm::check(values.comm, /*on_gpus=*/!device.device.is_cpu());
  if (!unfit.empty()) throw config.error(unfit);

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

  std::optional<data::ResidentSets> resident = resident_sets(device.device);
  const Compute compute = {.device = device.device,
                           .autocast = autocast_of(values.train.precision),
                           .resident = resident ? &*resident : nullptr};
  const bool overlap = comm::use_overlap(values.comm, session, device.threads, device.device);
  const std::vector<int> of_norms = norm_ranks(values.model.norm, session);
  const comm::Groups groups = comm::make_groups(values.comm, session,
                                                {.device = device.device,
                                                 .overlap = overlap,
                                                 .norm_ranks = of_norms,
                                                 .log_folder = start.directory,
                                                 .share_gpu = values.run.share_gpu});
  const auto model = make_model(config, catalogs, info, groups, device.device);
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
                                 .order = from.bucket_order,
                                 .pack = !device.device.is_cpu(),
                                 .wire_dtype = wire_dtype(values.comm.dtype),
                                 .verify_steps = values.comm.verify_steps,
                                 .check = groups.check.get()});

  const std::string environment = environment_json(session, program, device);
  metrics::Recorder recorder(session.rank(), start.directory);
  if (main_rank) log.tee_to(start.directory / "log.txt");
  recorder.write_file("config.yaml", config::print_config(config));
  recorder.write_file("environment.json", environment);
  log.note(concat("batch ", plan.describe(), "; ", describe_norm(values, plan, of_norms.size()),
                  "; ", schedule.describe()));
  log.note(concat(values.model.name, " on ", plan.train_samples(), " samples, ", plan.total_steps(),
                  " steps; ", session.size(), " x ", describe_device(device), ", overlap ",
                  overlap ? "on" : "off", "; run directory ", start.directory.string()));
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
  Trainer trainer(
      {.plan = plan,
       .train = values.train,
       .eval = values.eval,
       .loss = values.loss,
       .checkpoint = values.checkpoint,
       .data = values.data,
       .train_transform =
           for_device(train_transform(config, info, sets), device.device, values.train.precision),
       .eval_transform =
           for_device(eval_transform(config, info, sets), device.device, values.train.precision),
       .seed = seed,
       .compute = compute,
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
       .save_result = save_result,
       .profile = values.run.profile,
       .profile_file = start.directory / concat("profile.rank", session.rank(), ".json")},
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
    summary.peak_memory_bytes = peak_memory(device.device, *groups.world);
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
