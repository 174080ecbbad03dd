#include "trainer/commands/training_setup.h"

#include <algorithm>
#include <utility>

#include "comm/agree.h"
#include "comm/base/error.h"
#include "trainer/commands/agree_at_start.h"
#include "trainer/determinism.h"

namespace largo::commands {

namespace {

std::string describe_norm(const nn::NormOptions& norm, const BatchPlan& plan, size_t norm_ranks) {
  const auto sees = [](int64_t samples) {
    return concat("normalization sees ", samples, " samples");
  };
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

std::string describe_device(const ChosenDevice& device) {
  const std::string threads = concat(device.threads, device.threads == 1 ? " thread" : " threads");
  return device.device.is_cpu() ? threads : concat(device.name, ", ", threads);
}

std::optional<at::ScalarType> wire_dtype(comm::WireType type) {
  if (type == comm::WireType::kBfloat16) return at::kBFloat16;
  return std::nullopt;
}

// For the noise scale, or for AdaScale.
bool sums_squares(const config::RunConfig& values, const BatchPlan& plan) {
  return values.lr.scaling == optim::ScalingRule::kAdaScale ||
         (values.train.noise_scale != NoiseScaleWish::kOff && shows_noise(plan));
}

}  // namespace

RunInput read_run(const comm::MpiSession& session, Log& log, const ConfigArguments& arguments) {
  config::LoadedConfig config = load_on_all_ranks(session, log, arguments);
  const config::RunConfig& values = config.values;
  ChosenDevice device = set_up_device(session, values.run, log);
  warn_of_denormals(session, config, device, log);
  auto unfit = comm::check(values.comm, /*on_gpus=*/!device.device.is_cpu());
  for (OptionProblem& problem : check_determinism_on(values.run, !device.device.is_cpu())) {
    unfit.push_back(std::move(problem));
  }
  if (!unfit.empty()) throw config.error(unfit);

  Catalogs catalogs = make_catalogs();
  std::string index = data_index_on_all_ranks(config, catalogs, session, log);
  std::optional<Prepared> prepared;
  comm::on_all_ranks(session,
                     [&] { prepared.emplace(prepare(config, catalogs, index, session.size())); });
  agree_on_data(session, config, catalogs, index, prepared->info, device.device);
  return {std::move(config), std::move(device), std::move(catalogs), std::move(index),
          std::move(*prepared)};
}

Training::Training(const RunInput& the_run, const comm::MpiSession& the_session,
                   const std::filesystem::path& log_folder)
    : run(the_run),
      session(the_session),
      sets(load_data(run.config, run.catalogs, run.index, run.prepared.info, session)),
      resident(resident_sets(run.device.device)),
      compute({.device = run.device.device,
               .autocast = autocast_of(run.config.values.train.precision),
               .resident = resident ? &*resident : nullptr}),
      overlap(comm::use_overlap(run.config.values.comm, session, run.device.threads,
                                run.device.device)),
      norm_ranks(commands::norm_ranks(run.config.values.model.norm, session)),
      groups(comm::make_groups(run.config.values.comm, session,
                               {.device = run.device.device,
                                .overlap = overlap,
                                .norm_ranks = norm_ranks,
                                .log_folder = log_folder,
                                .share_gpu = run.config.values.run.share_gpu})),
      learner(make_model(session, run.config, run.catalogs, run.prepared.info, groups,
                         run.device.device),
              run.prepared.optimizer, run.config.values.train.ema,
              run.prepared.plan.global_batch()) {
  session.watchdog().set_folder(log_folder);
}

comm::GradientReducer Training::make_reducer(const std::vector<int64_t>& order) {
  const comm::CommOptions& options = run.config.values.comm;
  const BatchPlan& plan = run.prepared.plan;
  return comm::GradientReducer(learner.parameters, learner.statistics.pending(), *groups.world,
                               {.bucket_bytes = options.bucket_bytes,
                                .first_bucket_bytes = options.first_bucket_bytes,
                                .overlap = overlap,
                                .order = order,
                                .pack = !compute.device.is_cpu(),
                                .wire_dtype = wire_dtype(options.dtype),
                                .verify_steps = options.verify_steps,
                                .check = groups.check.get(),
                                .sum_squares = sums_squares(run.config.values, run.prepared.plan),
                                .leaves = plan.virtual_workers() / plan.world()});
}

Trainer::Parts Training::parts(comm::GradientReducer& reducer, optim::LrController& lr,
                               checkpoint::Checkpointer& checkpoints, metrics::Recorder& recorder,
                               metrics::Progress& progress, Log& log) {
  const config::RunConfig& values = run.config.values;
  const auto transform = [&](const auto& make) {
    return for_device(make(run.config, run.prepared.info, sets), compute.device,
                      values.train.precision);
  };
  const auto mark = [&in = session](comm::Doing doing, int64_t step) { in.mark(doing, step); };
  return {.plan = run.prepared.plan,
          .train = values.train,
          .eval = values.eval,
          .loss = values.loss,
          .checkpoint = values.checkpoint,
          .data = values.data,
          .train_transform = transform(train_transform),
          .eval_transform = transform(eval_transform),
          .seed = static_cast<uint64_t>(values.run.seed),
          .compute = compute,
          .world = *groups.world,
          .norm_ranks = norm_ranks,
          .dependent_gradients = dependent_gradients(),
          .sets = sets,
          .model = *learner.model,
          .statistics = learner.statistics,
          .reducer = reducer,
          .optimizer = *learner.optimizer,
          .average = learner.average ? &*learner.average : nullptr,
          .lr = lr,
          .rates = run.prepared.rates,
          .checkpoints = checkpoints,
          .recorder = recorder,
          .progress = progress,
          .log = log,
          .mark = mark};
}

bool Training::dependent_gradients() const {
  return run.config.values.model.norm.kind == nn::NormKind::kSyncBatch && norm_ranks.size() > 1;
}

std::string Training::describe_batch() const {
  const BatchPlan& plan = run.prepared.plan;
  return concat("batch ", plan.describe(), "; ",
                describe_norm(run.config.values.model.norm, plan, norm_ranks.size()), "; ",
                run.prepared.describe_lr(run.config.values));
}

std::string Training::describe_ranks() const {
  return concat(run.prepared.plan.world(), " x ", describe_device(run.device), ", overlap ",
                overlap ? "on" : "off");
}

}  // namespace largo::commands
