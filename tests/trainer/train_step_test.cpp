// Steps of the trainer against the same steps written out on one process: what is the same however
// a batch is cut, the equivalence tests cannot see.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "comm/self_communicator.h"
#include "tests/trainer/toy_run.h"
#include "trainer/data/batch_maker.h"
#include "trainer/data/catalog.h"
#include "trainer/data/mixup.h"
#include "trainer/data/sampler.h"
#include "trainer/nn/catalog.h"
#include "trainer/optim/gradient_statistics.h"

namespace largo::test {
namespace {

constexpr uint64_t kDataSeed = 5, kModelSeed = 3;  // toy_run's

// The images and labels at positions of the stream of samples, nothing mixed.
class Stream {
 public:
  explicit Stream(const ToyOptions& options)
      : sets_(load(options)),
        sampler_(kDataSeed, sets_.train->size()),
        maker_(*sets_.train,
               {.mean = sets_.mean,
                .std = sets_.std,
                .dtype = at::kDouble,
                .framing = data::train_framing(options_of(options), sets_.train->shape()),
                .augment = options_of(options).augment,
                .seed = kDataSeed}) {}

  data::Batch take(SampleSpan span) {
    return maker_.make({.keys = sampler_.keys(span.first, span.count)});
  }

 private:
  static data::DataOptions options_of(const ToyOptions& options) {
    data::DataOptions of_data;
    of_data.kind = "synthetic";
    of_data.shape = options.shape;
    of_data.limit = options.train_samples;
    of_data.augment = {.pad_crop = 2, .flip = true, .cutout = options.cutout};
    return of_data;
  }
  static data::Datasets load(const ToyOptions& options) {
    data::DataCatalog catalog;
    data::add_builtin_data(catalog);
    return catalog.load(options_of(options), "", 1);
  }

  data::Datasets sets_;
  data::Sampler sampler_;
  data::BatchMaker maker_;
};

// As toy_run makes it.
std::shared_ptr<nn::Model> toy_mlp() {
  nn::ModelCatalog models;
  nn::add_builtin_models(models);
  comm::SelfCommunicator self;
  auto model = models.make({.options = {.name = "mlp", .norm = {}},
                            .channels = 1,
                            .height = 28,
                            .width = 28,
                            .classes = 10,
                            .norm_given = false},
                           self, kModelSeed);
  model->to(torch::kDouble);
  return model;
}

double relative_error(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).norm().item<double>() / b.norm().item<double>();
}

std::map<std::string, torch::Tensor> by_name(const ToyResult& result) {
  return {result.state.begin(), result.state.end()};
}

// Mixup, label smoothing, clipping, Nesterov momentum and weight decay on their schedules, a group
// of parameters and the average of the weights, over epochs whose last batch is short.
TEST(TrainStep, IsTheOneWrittenOut) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "mlp",
                        .norm_given = false,
                        .last_batch = LastBatch::kKeep,
                        .mixup = 0.4,
                        .cutout = 8,
                        .clip_norm = 0.5,
                        .ema_decay = 0.9};
  options.batch = {.global = 64};
  options.optimizer.momentum_schedule.policy.kind = optim::PolicyKind::kPolynomial;
  options.optimizer.momentum_schedule.policy.end = 0.5;
  options.optimizer.weight_decay_schedule.policy.kind = optim::PolicyKind::kPolynomial;
  options.optimizer.weight_decay_schedule.policy.end = 0.1;
  options.optimizer.groups = {{.match = "*.bias", .lr_factor = 2}};
  const ToyResult result = run_toy_alone(options);

  const auto model = toy_mlp();
  std::vector<torch::Tensor> weights, biases;
  std::map<std::string, torch::Tensor> averages;
  for (const auto& parameter : model->named_parameters()) {
    (parameter.key().ends_with("bias") ? biases : weights).push_back(parameter.value());
    averages[parameter.key()] = parameter.value().detach().clone();
  }
  const auto sgd = [](double decay) {
    return torch::optim::SGDOptions(1).momentum(0.9).nesterov(true).weight_decay(decay);
  };
  torch::optim::SGD of_weights(weights, sgd(5e-4)), of_biases(biases, sgd(0));

  Stream stream(options);
  const std::vector<SampleSpan> slices = {{0, 64}, {64, 64}, {128, 32}, {160, 64}, {224, 64}};
  int clipped = 0;
  for (size_t step = 0; step < slices.size(); ++step) {
    const data::Batch batch = stream.take(slices[step]);
    const double mix = data::draw_mix(options.mixup, kDataSeed, static_cast<int64_t>(step));
    ASSERT_LT(mix, 1);
    // Every sample meets the one after it; the last one of the step meets the first.
    const auto mixed = [&](const torch::Tensor& x) { return mix * x + (1 - mix) * x.roll(-1, 0); };
    const torch::Tensor classes = torch::one_hot(batch.labels, 10).to(torch::kDouble);
    const torch::Tensor target = 0.9 * mixed(classes) + 0.01;
    const torch::Tensor logits = model->forward(mixed(batch.images), {});
    const torch::Tensor loss = -(target * logits.log_softmax(1)).sum(1).mean();
    model->zero_grad();
    loss.backward();
    const double norm = torch::nn::utils::clip_grad_norm_(model->parameters(), *options.clip_norm);
    clipped += norm > *options.clip_norm ? 1 : 0;
    EXPECT_NEAR(result.losses[step], loss.item<double>(), 1e-10 * loss.item<double>()) << step;
    EXPECT_NEAR(result.grad_norms[step], norm, 1e-10 * norm) << step;

    // Twice the base rate, which the warm-up begins at, after three steps.
    const double lr = options.lr * (1 + std::min(1.0, static_cast<double>(step) / 3));
    const double left = 1 - static_cast<double>(step) / 4;
    for (torch::optim::SGD* const optimizer : {&of_weights, &of_biases}) {
      auto& rates = static_cast<torch::optim::SGDOptions&>(optimizer->param_groups()[0].options());
      const bool decays = optimizer == &of_weights;
      rates.lr(decays ? lr : 2 * lr);
      rates.momentum(0.5 + (0.9 - 0.5) * left);
      rates.weight_decay(decays ? 0.1 + (5e-4 - 0.1) * left : 0);
      optimizer->step();
    }
    const torch::NoGradGuard no_grad;
    for (const auto& parameter : model->named_parameters()) {
      torch::Tensor& average = averages[parameter.key()];
      average = 0.81 * average + 0.19 * parameter.value();  // 0.9 at half the batch, squared
    }
  }
  EXPECT_GT(clipped, 1);

  const auto found = by_name(result);
  for (const auto& parameter : model->named_parameters()) {
    const std::string& name = parameter.key();
    EXPECT_LE(relative_error(found.at(name), parameter.value()), 1e-10) << name;
    EXPECT_LE(relative_error(found.at(name + ".ema"), averages[name]), 1e-10) << name;
  }
}

// The noise scale after one step is what the gradients of its four micro-batches say.
TEST(TrainStep, NoiseScaleIsTheOneWrittenOut) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "mlp", .norm_given = false, .steps = 1, .clip_norm = 1e-3};
  options.batch = {.global = 64, .micro = 16};
  const ToyResult result = run_toy_alone(options);

  const auto model = toy_mlp();
  const data::Batch batch = Stream(options).take({0, 64});
  optim::GradientSums sums = {.samples = 64, .micro_batches = 4};
  const auto squared_norm = [&](int64_t first, int64_t count) {
    const torch::Tensor classes =
        torch::one_hot(batch.labels.narrow(0, first, count), 10).to(torch::kDouble);
    const torch::Tensor target = 0.9 * classes + 0.01;
    const torch::Tensor logits = model->forward(batch.images.narrow(0, first, count), {});
    model->zero_grad();
    (-(target * logits.log_softmax(1)).sum(1).mean()).backward();
    double sum = 0;
    for (const torch::Tensor& parameter : model->parameters()) {
      sum += parameter.grad().square().sum().item<double>();
    }
    return sum;
  };
  for (int64_t first = 0; first < 64; first += 16) sums.squares += squared_norm(first, 16);
  sums.mean_square = squared_norm(0, 64);
  optim::NoiseScale want;
  want.add(sums);
  EXPECT_NEAR(result.noise_scales.at(0) / want.value().value(), 1, 1e-10);
}

// Takes its time to learn from each step's gradient.
class SlowController final : public optim::LrController {
 public:
  static constexpr double kSeconds = 0.02;

  double lr(int64_t /*step*/) const override { return 0.01; }
  void observe(const optim::StepNumbers&) override {}
  bool wants_gradient_sums() const override { return true; }
  void observe_gradient(int64_t /*step*/, const optim::GradientSums&) override {
    std::this_thread::sleep_for(std::chrono::duration<double>(kSeconds));
  }
  bool done(int64_t completed) const override { return completed >= 5; }
  std::string state() const override { return {}; }
  void restore(std::string_view) override {}
};

TEST(TrainStep, WhatTheControllerTakesIsPartOfTheStep) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "mlp", .norm_given = false};
  options.batch = {.global = 64, .micro = 16};
  options.controller = std::make_shared<SlowController>();
  const ToyResult result = run_toy_alone(options);
  EXPECT_GE(result.times.optimizer, SlowController::kSeconds);
  EXPECT_GE(result.times.p5, SlowController::kSeconds);
}

// Those of the first layer, whose input is known, over the batches of the last two of four steps.
TEST(TrainStep, PreciseStatisticsAreOfTheLastBatches) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "resnet8",
                        .norm = {.kind = nn::NormKind::kBatch},
                        .steps = 4,
                        .shape = {3, 16, 16},
                        .precise_bn = 2};
  options.batch = {.global = 64};
  const auto found = by_name(run_toy_alone(options));
  const torch::Tensor x = Stream(options).take({128, 128}).images;
  const torch::Tensor y =
      torch::conv2d(x, found.at("conv1.weight"), {}, 1, 1).transpose(0, 1).flatten(1);
  EXPECT_LE(relative_error(found.at("bn1.running_mean"), y.mean(1)), 1e-10);
  EXPECT_LE(relative_error(found.at("bn1.running_var"), y.var(1, /*unbiased=*/true)), 1e-10);
}

}  // namespace
}  // namespace largo::test
