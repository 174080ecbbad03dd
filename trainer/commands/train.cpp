#include <c10/core/CachingDeviceAllocator.h>

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/agree.h"
#include "comm/agreed_flags.h"
#include "comm/base/as_agreed.h"
#include "comm/base/error.h"
#include "comm/gpu.h"
#include "trainer/checkpoint/checkpointer.h"
#include "trainer/checkpoint/run_directory.h"
#include "trainer/checkpoint/weights.h"
#include "trainer/commands/build_info.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/precision.h"
#include "trainer/commands/resume.h"
#include "trainer/commands/setup.h"
#include "trainer/commands/stop.h"
#include "trainer/commands/training_setup.h"
#include "trainer/config/config_print.h"
#include "trainer/metrics/environment.h"
#include "trainer/optim/make_controller.h"
#include "trainer/trainer.h"

namespace largo::commands {

namespace {

namespace fs = std::filesystem;

// What rank 0 found in the run directory, as all ranks know it.
struct Start {
  fs::path directory;
  bool finished = false;
  PrecisionBefore precision;
};

// What is in the way of going on in this directory; returns the precision that it was left with.
PrecisionBefore look_into(const checkpoint::RunDirectory& opened,
                          const config::LoadedConfig& config) {
  const fs::path saved_file = opened.config_yaml();
  if (opened.state() == checkpoint::RunState::kNew || !fs::exists(saved_file)) return {};
  const auto saved = config::load_config(read_config_file(saved_file), {});
  config::RunConfig now = config.values;
  const Precision before = saved.values.train.precision;
  now.train.precision = precision_to_go_on_with(now.train.precision, before);
  // A run without a checkpoint has nothing that its batch or data could be compared with later.
  const bool goes_on = opened.state() == checkpoint::RunState::kUnfinished &&
                       !checkpoint::Store(opened.checkpoints()).complete().empty();
  refuse_other_trajectory(opened.path().string(), saved.values, now, !goes_on);
  return {before, saved_file.string()};
}

// The run directory is rank 0's to open, lock and judge.
Start open_directory(const TrainArguments& arguments, const config::LoadedConfig& config,
                     const comm::MpiSession& session,
                     std::optional<checkpoint::RunDirectory>& opened) {
  PrecisionBefore before;
  comm::on_rank_zero(session, [&] {
    const RunOptions& run = config.values.run;
    opened.emplace(checkpoint::RunDirectory::open(run.output, run.name, arguments.fresh));
    before = look_into(*opened, config);
    if (config.values.train.precision != Precision::kAuto) return;
    auto of_checkpoint = precision_of_checkpoint(config.values.checkpoint, opened->checkpoints());
    if (!of_checkpoint.where.empty()) before = std::move(of_checkpoint);
  });
  std::string found;
  if (session.rank() == 0) {
    const char* const state = opened->state() == checkpoint::RunState::kFinished ? "F" : "U";
    found = concat(state, static_cast<int>(before.precision), opened->path().string());
  }
  found = session.broadcast(found);
  return {.directory = found.substr(2),
          .finished = found[0] == 'F',
          .precision = {static_cast<Precision>(found[1] - '0'), session.broadcast(before.where)}};
}

std::string environment_json(const comm::MpiSession& session, ProgramArguments program,
                             const RunInput& run) {
  const ChosenDevice& device = run.device;
  metrics::RunEnvironment environment = {
      .version = version(),
      .commit = commit(),
      .build_type = build_type(),
      .mpi = session.library_version(),
      .gpu = device.device.is_cpu() ? std::string() : comm::gpu_libraries(),
      .flush_denormals = device.flushes_denormals,
      .precision = run.precision};
  environment.command_line.assign(program.argv, program.argv + program.argc);
  const auto hosts = session.all_gather(session.host());
  const auto devices = session.all_gather(device.name);
  const auto memory = session.all_gather(
      concat("malloc ", device.memory.malloc, ", huge pages ", device.memory.huge_pages));
  const auto flush = session.all_gather(device.flushes_denormals ? "1" : "0");
  for (size_t r = 0; r < hosts.size(); ++r) {
    environment.ranks.push_back({.host = hosts[r],
                                 .device = devices[r],
                                 .threads = device.threads,
                                 .memory = memory[r],
                                 .flush_denormals = flush[r] == "1"});
  }
  return metrics::to_json(environment);
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

// The first lines of the run's records, and what is said on the console.
void begin_records(const Training& training, const From& from, const std::string& environment,
                   const fs::path& directory, metrics::Recorder& recorder, Log& log) {
  const config::LoadedConfig& config = training.run.config;
  const BatchPlan& plan = training.run.prepared.plan;
  if (training.groups.world->rank() == 0) log.tee_to(directory / "log.txt");
  recorder.write_file("config.yaml", config::print_config(config));
  recorder.write_file("environment.json", environment);
  log.note(training.describe_batch());
  log.note(concat(config.values.model.name, " on ", plan.train_samples(), " samples, ",
                  training.run.prepared.describe_steps(config.values), "; ",
                  training.describe_ranks(), "; run directory ", directory.string()));
  if (config.values.lr.scaling == optim::ScalingRule::kAdaScale && training.dependent_gradients()) {
    log.note(
        "model.norm.kind sync_batch makes the gradients of ranks depend on one another: the noise "
        "that lr.scaling adascale takes its gain from is biased");
  }
  const std::string& transport = training.groups.transport;
  if (!transport.empty()) log.note("sums through " + transport);
  const auto world = static_cast<int>(plan.world());
  if (from.checkpoint) {
    log.note(concat("resumed from ", from.checkpoint->string(), " after step ", from.state.step));
    recorder.resume(from.state.step, world, plan.global_batch(), *from.checkpoint);
  } else {
    recorder.start(world, plan.global_batch());
  }
}

// A collective.
metrics::Summary summarize(const Training& training, Trainer& trainer, metrics::RunStatus status,
                           int64_t steps) {
  const config::RunConfig& values = training.run.config.values;
  const BatchPlan& plan = training.run.prepared.plan;
  // The same sum on every rank; a failed rank's peers fail alike.
  torch::Tensor skipped = torch::full({1}, trainer.skipped(), torch::kLong);
  training.groups.world->all_reduce(skipped).wait();
  return {.status = status,
          .name = values.run.name,
          .seed = values.run.seed,
          .steps = steps,
          .world = static_cast<int>(plan.world()),
          .global_batch = plan.global_batch(),
          .split = "val",
          .time_s = trainer.time_s(),
          .samples_per_s = trainer.timer().samples_per_s(plan.global_batch()),
          .step_time = trainer.timer().times(),
          .config_hash = config::config_hash(values),
          .peak_memory_bytes = peak_memory(training.compute.device, *training.groups.world),
          .skipped_steps = trainer.skipped_steps(),
          .skipped_samples = skipped.item<int64_t>()};
}

int train(const TrainArguments& arguments, const comm::MpiSession& session,
          comm::StopSignals& signals, double started_s, Log& log, ProgramArguments program) {
  RunInput run = read_run(session, log, arguments.config);
  const config::RunConfig& values = run.config.values;
  const int64_t total_steps = run.prepared.plan.total_steps();

  std::optional<checkpoint::RunDirectory> opened;
  const Start start = open_directory(arguments, run.config, session, opened);
  const fs::path& directory = start.directory;
  if (start.finished) {
    log.note(concat("The run in ", directory.string(),
                    " is finished; nothing was done. To train it afresh, add --fresh (the old "
                    "directory is kept under another name)"));
    if (session.rank() == 0) std::printf("%s\n", directory.c_str());
    return 0;
  }

  settle_precision(run, session, start.precision, log);
  Training training(run, session, directory);
  const auto controller =
      optim::make_controller(values.lr, run.prepared.schedule, run.prepared.schedule_inputs);
  checkpoint::Checkpointer checkpoints(values.checkpoint, directory / "checkpoints",
                                       *training.groups.world, log);
  const RunIdentity identity = identity_of(training, session);
  const From from = restore(identity, checkpoints, training, *controller, log);
  comm::GradientReducer reducer = training.make_reducer(from.state.bucket_order);
  const std::string environment = environment_json(session, program, run);
  metrics::Recorder recorder(session.rank(), directory);
  begin_records(training, from, environment, directory, recorder, log);
  metrics::Progress progress(log, total_steps, metrics::stderr_is_terminal());

  Trainer::Parts parts = training.parts(reducer, *controller, checkpoints, recorder, progress, log);
  parts.save_result = [&](const std::string& split) {
    const char* file = split == "val" ? "weights.safetensors" : "weights_ema.safetensors";
    comm::on_rank_zero(session, [&] {
      checkpoint::save_tensors(directory / file, training.learner.model_state(),
                               {{"format", "pt"}, {"model", values.model.name}});
    });
  };
  comm::AgreedFlags flags(session);
  parts.flags = &flags;
  Stopping stopping = make_stopping(training, signals, started_s, log);
  parts.stopping = &stopping;
  parts.identity = identity;
  parts.config = config::print_config(run.config);
  parts.profile = values.run.profile;
  parts.profile_file = directory / concat("profile.rank", session.rank(), ".json");
  Trainer trainer(std::move(parts), from.state);
  const auto finish = [&](metrics::RunStatus status, int64_t steps) {
    session.mark(comm::Doing::kEnding, steps);
    recorder.write_summary(summarize(training, trainer, status, steps));
    recorder.end(status, steps, trainer.time_s());
  };
  signals.defer();
  try {
    const int64_t steps = trainer.fit();
    finish(trainer.stopped() ? metrics::RunStatus::kStopped : metrics::RunStatus::kDone, steps);
  } catch (const AgreedError&) {
    finish(metrics::RunStatus::kFailed, trainer.completed());
    throw;
  }
  if (trainer.stopped()) {
    log.note(concat("stopped by ", reason_of_stop(trainer.stopped(), stopping, signals, session),
                    ": the checkpoint of step ", trainer.completed(), " is in ",
                    (directory / "checkpoints").string(), "; the same command goes on from there"));
    signals.ignore();
    return static_cast<int>(ExitCode::kStopped);
  }
  if (session.rank() == 0) std::printf("%s\n", directory.c_str());
  return 0;
}

}  // namespace

int run_train(const TrainArguments& arguments, ProgramArguments program) {
  const double started_s = steady_s();
  comm::StopSignals signals;  // before MPI: a launcher may pass one on at any time
  int code = 0;
  {
    const comm::MpiSession session(program.argc, program.argv,
                                   init_timeout_s(arguments.config.overrides));
    Log log;
    log.set_rank(session.rank(), session.size(), session.host());
    code = guarded(session, log,
                   [&] { return train(arguments, session, signals, started_s, log, program); });
  }
  if (code == static_cast<int>(ExitCode::kStopped)) leave(code);
  return code;
}

}  // namespace largo::commands
