#include "trainer/commands/setup.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

#include "comm/agree.h"
#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "comm/signs_of_life.h"
#include "trainer/commands/agree_at_start.h"
#include "trainer/data/memory_cache.h"
#include "trainer/data/stage.h"
#include "trainer/determinism.h"
#include "trainer/gradient_monitor.h"
#include "trainer/nn/state.h"
#include "trainer/optim/scaling.h"

namespace largo::commands {

Catalogs make_catalogs() {
  Catalogs catalogs;
  data::add_builtin_data(catalogs.data);
  nn::add_builtin_models(catalogs.models);
  return catalogs;
}

config::SourceText read_config_file(const std::string& path) {
  // One byte more than the reader's limit, so that it can see the file is too large.
  constexpr size_t kMost = (1 << 20) + 1;
  std::ifstream in(path, std::ios::binary);
  std::string bytes(kMost, '\0');
  in.read(bytes.data(), kMost);
  // Reading a directory fails; a short file ends with eof.
  if (!in.is_open() || in.bad() || (in.fail() && !in.eof())) {
    fail(ExitCode::kInputMissing, "config file ", path, " cannot be read");
  }
  bytes.resize(static_cast<size_t>(in.gcount()));
  return {path, bytes};
}

double init_timeout_s(const std::vector<std::string>& overrides) {
  constexpr std::string_view kKey = "comm.init_timeout=";
  double seconds = comm::CommOptions{}.init_timeout.seconds;
  for (const std::string& override : overrides) {
    if (!override.starts_with(kKey)) continue;
    try {
      const double given = OptionCodec<Time>::parse(override.substr(kKey.size())).seconds;
      if (given > 0) seconds = given;
    } catch (const std::exception&) {  // it is refused as soon as all ranks can agree on that
    }
  }
  return seconds;
}

config::LoadedConfig load_on_all_ranks(const comm::MpiSession& session, Log& log,
                                       const ConfigArguments& arguments) {
  config::SourceText source{arguments.path, {}};
  comm::on_rank_zero(session, [&] { source = read_config_file(arguments.path); });
  source.bytes = session.broadcast(source.bytes);
  config::LoadedConfig loaded;
  comm::on_all_ranks(session, [&] { loaded = config::load_config(source, arguments.overrides); });
  agree_on_program(session, loaded);
  const comm::CommOptions& options = loaded.values.comm;
  session.watchdog().set_limits(
      {.timeout_s = options.timeout.seconds, .init_timeout_s = options.init_timeout.seconds});
  for (const std::string& note : loaded.notes) log.note(note);
  return loaded;
}

at::ScalarType autocast_of(Precision precision) {
  return precision == Precision::kBfloat16 ? at::kBFloat16 : at::kFloat;
}

std::optional<data::ResidentSets> resident_sets(torch::Device device) {
  if (device.is_cpu()) return std::nullopt;
  // More would take its share from the batches, and a set is read whole by every rank.
  constexpr int64_t kMostBytes = int64_t{2} << 30;
  const auto [free, all] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  return std::optional<data::ResidentSets>(std::in_place, device,
                                           std::min(static_cast<int64_t>(free / 8), kMostBytes));
}

at::ScalarType dtype_of(Precision precision) {
  return precision == Precision::kFloat64 ? at::kDouble : at::kFloat;
}

nn::ModelSpec model_spec(const config::LoadedConfig& config, const data::DataInfo& info) {
  const auto& keys = config.provenance.keys;
  const auto first_norm_key = keys.lower_bound("model.norm.");
  return {.options = config.values.model,
          .channels = info.shape.channels,
          .height = info.shape.height,
          .width = info.shape.width,
          .classes = info.classes,
          .norm_given =
              first_norm_key != keys.end() && first_norm_key->first.starts_with("model.norm.")};
}

namespace {

// Runs `work`, and gives a problem with an option that it throws its place in the file.
template <class Work>
auto with_places(const config::LoadedConfig& config, const Work& work) {
  try {
    return work();
  } catch (const OptionError& error) {
    throw config.error({error.problem()});
  }
}

}  // namespace

std::string data_index(const config::LoadedConfig& config, const Catalogs& catalogs, Log& log) {
  return with_places(config, [&] {
    return catalogs.data.index(config.values.data,
                               {.fallback_folder = config.values.run.output,
                                .warn = [&](const std::string& message) { log.warn(message); }});
  });
}

std::string data_index_on_all_ranks(const config::LoadedConfig& config, const Catalogs& catalogs,
                                    const comm::MpiSession& session, Log& log) {
  std::string index;
  comm::on_rank_zero(session, [&] {
    const comm::SignsOfLife alive(session.flight_record(), comm::Doing::kStarting);
    index = data_index(config, catalogs, log);
  });
  return session.broadcast(std::move(index));
}

data::Datasets load_data(const config::LoadedConfig& config, const Catalogs& catalogs,
                         const std::string& index, const data::DataInfo& info,
                         const comm::MpiSession& session) {
  constexpr int64_t kMostBytesInMemory = int64_t{2} << 30;  // of each part, per rank
  data::DataOptions options = config.values.data;
  if (!options.stage.empty()) {
    comm::on_all_ranks(session, [&] {
      if (session.local_rank() != 0) return;
      const comm::SignsOfLife alive(session.flight_record(), comm::Doing::kStarting);
      data::stage_files(catalogs.data.files(options, index), options.stage);
    });
    options = data::staged(options);
  }
  data::Datasets sets;
  comm::on_all_ranks(session, [&] {
    const comm::SignsOfLife alive(session.flight_record(), comm::Doing::kStarting);
    sets = catalogs.data.load(options, index, static_cast<uint64_t>(config.values.run.seed));
  });
  sets.train = data::keep_in_memory(std::move(sets.train), data::train_framing(options, info.shape),
                                    kMostBytesInMemory);
  sets.val = data::keep_in_memory(std::move(sets.val), data::eval_framing(options, info.shape),
                                  kMostBytesInMemory);
  return sets;
}

data::Transform eval_transform(const config::LoadedConfig& config, const data::DataInfo& info,
                               const data::Datasets& sets) {
  return {.mean = sets.mean,
          .std = sets.std,
          .dtype = dtype_of(config.values.train.precision),
          .framing = data::eval_framing(config.values.data, info.shape)};
}

data::Transform train_transform(const config::LoadedConfig& config, const data::DataInfo& info,
                                const data::Datasets& sets) {
  data::Transform transform = eval_transform(config, info, sets);
  transform.framing = data::train_framing(config.values.data, info.shape);
  transform.augment = config.values.data.augment;
  transform.seed = static_cast<uint64_t>(config.values.run.seed);
  return transform;
}

data::Transform for_device(data::Transform transform, torch::Device device, Precision precision) {
  if (!device.is_cpu() && precision == Precision::kBfloat16) transform.dtype = at::kBFloat16;
  return transform;
}

data::DataInfo describe_data(const config::LoadedConfig& config, const Catalogs& catalogs,
                             const std::string& index) {
  return with_places(config, [&] { return catalogs.data.describe(config.values.data, index); });
}

std::vector<int> norm_ranks(const nn::NormOptions& options, const comm::MpiSession& session) {
  using Kind = nn::SyncRanks::Kind;
  const int me = session.rank();
  std::vector<int> ranks;
  if (options.sync_ranks.kind == Kind::kNode) {
    for (const std::string& rank : session.node_all_gather(std::to_string(me))) {
      ranks.push_back(std::stoi(rank));
    }
    std::sort(ranks.begin(), ranks.end());
    return ranks;
  }
  const bool all = options.sync_ranks.kind == Kind::kWorld;
  const int number = all ? session.size() : static_cast<int>(options.sync_ranks.number);
  ranks.resize(static_cast<size_t>(number));
  std::iota(ranks.begin(), ranks.end(), me / number * number);
  return ranks;
}

namespace {

// Of the optimizer's groups, which are checked against the names of the model's parameters: for
// that a model is built, and dropped.
std::string describe_groups(const config::LoadedConfig& config, const Catalogs& catalogs,
                            const data::DataInfo& info) {
  const std::vector<optim::GroupOptions>& groups = config.values.optimizer.groups;
  if (groups.empty()) return {};
  comm::SelfCommunicator alone;
  const auto model = catalogs.models.make(model_spec(config, info), alone, /*seed=*/0);
  const std::vector<nn::NamedParameter> parameters = nn::named_parameters(*model);
  std::vector<std::string> names;
  names.reserve(parameters.size());
  for (const nn::NamedParameter& parameter : parameters) names.push_back(parameter.name);
  return with_places(config, [&] { return optim::describe_groups(groups, names); });
}

// The plan that the schedule's durations are steps of: the run's own, but for adascale, whose
// schedule is that of a run at base_batch.
BatchPlan schedule_clock(BatchPlan::Inputs inputs, const optim::LrOptions& lr) {
  if (lr.scaling == optim::ScalingRule::kAdaScale) {
    inputs.batch = {.global = lr.base_batch};
    inputs.world = 1;
    inputs.virtual_workers = 0;
  }
  return BatchPlan(inputs);
}

}  // namespace

Prepared prepare(const config::LoadedConfig& config, const Catalogs& catalogs,
                 const std::string& index, int64_t world) {
  const config::RunConfig& values = config.values;
  const data::DataInfo info = describe_data(config, catalogs, index);
  BatchPlan::Inputs inputs = {.batch = values.batch,
                              .last_batch = values.train.last_batch,
                              .length = values.train.length,
                              .world = world,
                              .train_samples = info.train_samples,
                              .virtual_workers = virtual_workers(values.run)};
  std::vector<OptionProblem> problems = BatchPlan::check(inputs);
  for (OptionProblem& problem : catalogs.models.check(model_spec(config, info))) {
    problems.push_back(std::move(problem));
  }
  for (OptionProblem& problem : nn::check_sync_ranks(values.model.norm, world)) {
    problems.push_back(std::move(problem));
  }
  if (!problems.empty()) throw config.error(problems);
  const int64_t global_batch = BatchPlan(inputs).global_batch();
  problems = optim::check_scaling(values.lr, values.optimizer, global_batch);
  for (OptionProblem& problem :
       check_gradient_statistics(values.train, values.lr, BatchPlan(inputs))) {
    problems.push_back(std::move(problem));
  }
  if (!problems.empty()) throw config.error(problems);
  const BatchPlan clock = schedule_clock(inputs, values.lr);
  if (values.lr.scaling == optim::ScalingRule::kAdaScale) {
    inputs.length = {static_cast<double>(clock.total_steps()), Duration::Unit::kSteps};
  }
  const optim::ScheduleInputs schedule_inputs = {
      .global_batch = global_batch,
      .total_steps = clock.total_steps(),
      .steps_of = [clock](const Duration& d) { return clock.steps_of(d); }};
  const optim::OptimizerOptions optimizer =
      optim::scaled_for_batch(values.optimizer, values.lr, global_batch);
  return {.info = info,
          .plan = BatchPlan(inputs),
          .schedule_inputs = schedule_inputs,
          .schedule =
              with_places(config, [&] { return optim::make_schedule(values.lr, schedule_inputs); }),
          .optimizer = optimizer,
          .rates = with_places(config,
                               [&] {
                                 return optim::make_rate_schedules(optimizer,
                                                                   schedule_inputs.total_steps,
                                                                   schedule_inputs.steps_of);
                               }),
          .groups = describe_groups(config, catalogs, info)};
}

std::string Prepared::describe_lr(const config::RunConfig& config) const {
  const std::string of_optimizer =
      optim::describe_scaled_optimizer(config.optimizer, config.lr, plan.global_batch());
  std::string text = schedule.describe();
  for (const std::string& more :
       {of_optimizer, rates.describe(), groups.empty() ? groups : "groups: " + groups}) {
    if (!more.empty()) text += concat("; ", more);
  }
  return text;
}

std::string Prepared::describe_steps(const config::RunConfig& config) const {
  const bool adascale = config.lr.scaling == optim::ScalingRule::kAdaScale;
  return concat(adascale ? "at most " : "", plan.total_steps(), " steps");
}

std::shared_ptr<nn::Model> make_model(const comm::MpiSession& session,
                                      const config::LoadedConfig& config, const Catalogs& catalogs,
                                      const data::DataInfo& info, const comm::Groups& groups,
                                      torch::Device device) {
  const auto seed = static_cast<uint64_t>(config.values.run.seed);
  auto model = catalogs.models.make(model_spec(config, info), groups.norms(), seed);
  model->to(dtype_of(config.values.train.precision));
  if (!device.is_cpu()) model->to(device);
  agree_on_parameters(session, *model);
  // Equal already but for the last bits of hosts with another mathematics library.
  for (auto& [name, tensor] : nn::state_tensors(*model))
    groups.world->broadcast(tensor.detach(), 0);
  return model;
}

namespace {

// The watchdog speaks through the log while it exists.
class Voices {
 public:
  Voices(const comm::MpiSession& session, Log& log) : watchdog_(session.watchdog()) {
    watchdog_.set_voices([&log](const std::string& text) { log.warn_of_rank(text); },
                         [&log](const std::string& text) { log.error(text); });
  }
  ~Voices() { watchdog_.set_voices({}, {}); }
  Voices(const Voices&) = delete;
  Voices& operator=(const Voices&) = delete;

 private:
  comm::Watchdog& watchdog_;
};

}  // namespace

int guarded(const comm::MpiSession& session, Log& log, const std::function<int()>& body) {
  const Voices voices(session, log);
  try {
    return body();
  } catch (const AgreedError& error) {
    log.note(concat("error: ", error.what()));  // once, and no single rank's
    return static_cast<int>(error.code());
  } catch (const c10::Error& error) {
    log.error(error.what_without_backtrace());
  } catch (const std::exception& error) {
    log.error(error.what());
    session.abort(static_cast<int>(exit_code(error)));
  }
  session.abort(static_cast<int>(ExitCode::kInternal));
}

}  // namespace largo::commands
