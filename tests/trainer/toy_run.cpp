#include "tests/trainer/toy_run.h"

#include <cmath>

#include "comm/base/error.h"
#include "comm/base/log.h"
#include "comm/gradient_reducer.h"
#include "comm/self_communicator.h"
#include "trainer/checkpoint/checkpointer.h"
#include "trainer/data/catalog.h"
#include "trainer/gradient_monitor.h"
#include "trainer/learner.h"
#include "trainer/lr_find.h"
#include "trainer/nn/catalog.h"
#include "trainer/optim/lr_schedule.h"
#include "trainer/optim/make_controller.h"
#include "trainer/trainer.h"
#include "trainer/worker_sums.h"

namespace largo::test {

namespace {

std::vector<int> norm_ranks(const nn::NormOptions& options, const comm::Communicator& world) {
  std::vector<int> ranks;
  for (int rank = 0; rank < world.size(); ++rank) {
    if (norm_color(options, rank) == norm_color(options, world.rank())) ranks.push_back(rank);
  }
  return ranks;
}

// A model that tells what it is trained on.
class Watched final : public nn::Model {
 public:
  Watched(std::shared_ptr<nn::Model> model, std::function<void(const nn::StepContext&)> watches)
      : model_(register_module("of", std::move(model))), watches_(std::move(watches)) {}

  torch::Tensor forward(const torch::Tensor& images, const nn::StepContext& context) override {
    if (context.training) watches_(context);
    return model_->forward(images, context);
  }

 private:
  std::shared_ptr<nn::Model> model_;
  std::function<void(const nn::StepContext&)> watches_;
};

}  // namespace

int norm_color(const nn::NormOptions& options, int rank) {
  const bool by_number = options.sync_ranks.kind == nn::SyncRanks::Kind::kNumber;
  return by_number ? rank / static_cast<int>(options.sync_ranks.number) : 0;
}

ToyResult run_toy(const ToyOptions& options, comm::Communicator& world, comm::Communicator& norms) {
  data::DataOptions data_options;
  data_options.kind = "synthetic";
  data_options.shape = options.shape;
  data_options.limit = options.train_samples;
  data_options.augment = {.pad_crop = 2, .flip = true, .cutout = options.cutout};
  data_options.mixup = options.mixup;
  data_options.shuffle = options.shuffle;
  data::DataCatalog data_catalog;
  data::add_builtin_data(data_catalog);
  const data::Datasets sets = data_catalog.load(data_options, "", 1);

  const BatchPlan plan({.batch = options.batch,
                        .last_batch = options.last_batch,
                        .length = {static_cast<double>(options.steps), Duration::Unit::kSteps},
                        .world = world.size(),
                        .train_samples = options.train_samples,
                        .virtual_workers = options.virtual_workers});

  nn::ModelCatalog models;
  nn::add_builtin_models(models);
  nn::ModelOptions model_options;
  model_options.name = options.model;
  model_options.norm = options.norm;
  model_options.zero_init_residual = false;  // else half of every block has no part in the start
  std::shared_ptr<nn::Model> model = models.make({.options = model_options,
                                                  .channels = options.shape[0],
                                                  .height = options.shape[1],
                                                  .width = options.shape[2],
                                                  .classes = 10,
                                                  .norm_given = options.norm_given},
                                                 norms, /*seed=*/3);
  const at::ScalarType dtype =
      options.precision == Precision::kFloat64 ? torch::kDouble : torch::kFloat;
  model->to(dtype);
  if (options.watches) {
    model = std::make_shared<Watched>(
        model, [&](const nn::StepContext& context) { options.watches(world.rank(), context); });
  }
  Learner learner(model, options.optimizer, {.decay = options.ema_decay, .at_batch = 32},
                  plan.global_batch());
  if (options.prepares) options.prepares(*model);
  int64_t step = options.from_step;
  if (options.poisons) {
    learner.parameters.back().register_hook([&](const torch::Tensor& gradient) {
      return options.poisons(world.rank(), step) ? gradient * NAN : gradient;
    });
  }
  const auto make_reducer = [&] {
    return std::make_unique<comm::GradientReducer>(
        learner.parameters, learner.statistics.pending(), world,
        comm::ReducerOptions{.bucket_bytes = options.bucket_bytes,
                             .first_bucket_bytes = options.bucket_bytes,
                             .overlap = options.overlap,
                             .sum_squares = shows_noise(plan),
                             .leaves = plan.virtual_workers() / plan.world()});
  };
  optim::LrOptions lr_options;
  lr_options.base = options.lr;
  lr_options.base_batch = 32;
  lr_options.warmup = {.kind = optim::WarmupKind::kGradual,
                       .length = Duration{3, Duration::Unit::kSteps},
                       .start = {}};
  if (options.adascale_base > 0) {
    lr_options.base_batch = options.adascale_base;
    lr_options.scaling = optim::ScalingRule::kAdaScale;
    lr_options.warmup = {};
  }
  const optim::ScheduleInputs inputs = {
      .global_batch = plan.global_batch(),
      .total_steps = plan.total_steps(),
      .steps_of = [&](const Duration& d) { return plan.steps_of(d); }};
  std::shared_ptr<optim::LrController> controller = options.controller;
  if (!controller) {
    controller =
        optim::make_controller(lr_options, optim::make_schedule(lr_options, inputs), inputs);
  }

  Log log;
  log.set_rank(1, 2, "quiet");  // only errors are heard
  TrainOptions train_options;
  train_options.clip_norm = options.clip_norm;
  train_options.on_nonfinite = options.on_nonfinite;
  train_options.max_skipped = options.max_skipped;
  const EvalOptions eval_options = {.precise_bn = options.precise_bn};
  const nn::LossOptions loss = {.kind = "cross_entropy", .label_smoothing = 0.1};
  const checkpoint::CheckpointOptions checkpoint_options;
  checkpoint::Checkpointer checkpoints(checkpoint_options, "unused", world, log);
  metrics::Recorder recorder(world.rank(), options.directory);
  metrics::Progress progress(log, plan.total_steps(), false);
  const data::SampleShape shape = sets.train->shape();
  const data::Transform transform = {.mean = sets.mean,
                                     .std = sets.std,
                                     .dtype = dtype,
                                     .framing = data::train_framing(data_options, shape),
                                     .augment = data_options.augment,
                                     .seed = 5};
  const auto parts = [&](const BatchPlan& of_run, comm::GradientReducer& sums,
                         optim::LrController& lr) -> Trainer::Parts {
    const auto steps_of = [&](const Duration& duration) { return of_run.steps_of(duration); };
    return {.plan = of_run,
            .train = train_options,
            .eval = eval_options,
            .loss = loss,
            .checkpoint = checkpoint_options,
            .data = data_options,
            .train_transform = transform,
            .eval_transform = transform,
            .seed = 5,
            .world = world,
            .norm_ranks = norm_ranks(options.norm, world),
            .sets = sets,
            .model = *model,
            .statistics = learner.statistics,
            .reducer = sums,
            .optimizer = *learner.optimizer,
            .average = learner.average ? &*learner.average : nullptr,
            .lr = lr,
            .rates = make_rate_schedules(options.optimizer, of_run.total_steps(), steps_of),
            .checkpoints = checkpoints,
            .recorder = recorder,
            .progress = progress,
            .log = log};
  };
  ToyResult result;
  if (options.range_test) {
    RampController ramp(*options.range_test);
    const auto of_test = make_reducer();
    const BatchPlan as_long =
        plan.with_length({static_cast<double>(options.range_test->steps), Duration::Unit::kSteps});
    try {
      result.range_test = run_range_test(parts(as_long, *of_test, ramp), learner, ramp,
                                         [&](int64_t step, const optim::RangePoint&) {
                                           if (step == options.range_test_fails_at) {
                                             fail(ExitCode::kInternal, "the test was to fail");
                                           }
                                         });
    } catch (const Error&) {
      if (options.range_test_fails_at < 0) throw;
    }
  }
  const auto reducer = make_reducer();
  Trainer trainer(parts(plan, *reducer, *controller), RunState{.step = options.from_step});
  for (; step < options.steps; ++step) {
    const StepResult of_step = trainer.train_step(step);
    const torch::Tensor loss_sum = sum_over_ranks(of_step.loss_sum.to(torch::kDouble).unsqueeze(0),
                                                  plan.virtual_workers() > 0, world);
    result.losses.push_back(loss_sum.item<double>() /
                            static_cast<double>(plan.samples_in_step(step)));
    result.grad_norms.push_back(of_step.grad_norm.item<double>());
    result.lrs.push_back(of_step.lr);
    result.skipped.push_back(of_step.skipped);
    result.noise_scales.push_back(trainer.noise_scale().value_or(-1));
  }
  if (options.precise_bn > 0) trainer.take_precise_statistics(options.steps);
  for (const auto& [name, tensor] : learner.model_state()) {
    result.state.emplace_back(name, tensor.detach().clone());
  }
  for (const auto& [name, tensor] : learner.optimizer->state()) {
    result.optimizer_state.emplace_back(name, tensor.clone());
  }
  if (learner.average) {
    for (const auto& [name, tensor] : learner.average->state()) {
      result.state.emplace_back(name, tensor.clone());
    }
  }
  result.times = trainer.timer().times();
  result.launched_in_backward = reducer->buckets_launched_in_backward();
  result.buckets = reducer->bucket_count();
  return result;
}

ToyResult run_toy_alone(const ToyOptions& options) {
  comm::SelfCommunicator world;
  comm::SelfCommunicator norms;
  return run_toy(options, world, norms);
}

std::string difference(const ToyResult& run, const ToyResult& reference, Precision precision) {
  const double most = precision == Precision::kFloat64 ? 1e-10 : 1e-2;
  const auto relative = [](double a, double b) { return std::abs(a - b) / std::abs(b); };
  if (run.losses.size() != reference.losses.size()) return "another number of steps";
  for (size_t step = 0; step < run.losses.size(); ++step) {
    const double loss = relative(run.losses[step], reference.losses[step]);
    const double norm = relative(run.grad_norms[step], reference.grad_norms[step]);
    if (!(loss <= most) || !(norm <= most)) {
      return concat("step ", step, ": loss ", run.losses[step], " and ", reference.losses[step],
                    ", gradient norm ", run.grad_norms[step], " and ", reference.grad_norms[step]);
    }
  }
  if (precision != Precision::kFloat64) return {};
  if (run.state.size() != reference.state.size()) return "another number of tensors";
  for (size_t i = 0; i < run.state.size(); ++i) {
    const torch::Tensor a = run.state[i].second.to(torch::kDouble);
    const torch::Tensor b = reference.state[i].second.to(torch::kDouble);
    const double error = (a - b).norm().item<double>() / b.norm().item<double>();
    if (!(error <= most)) return concat(run.state[i].first, " differs by ", error);
  }
  return {};
}

}  // namespace largo::test
