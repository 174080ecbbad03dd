// Every optimizer against the trajectories of tests/golden/optimizers.json, and what holds for all.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/base/error.h"
#include "trainer/optim/optimizer.h"

namespace largo::optim {
namespace {

using nlohmann::json;

at::Tensor tensor_of(const json& numbers, const json& shape) {
  return at::tensor(numbers.get<std::vector<double>>(), at::kDouble)
      .reshape(shape.get<std::vector<int64_t>>());
}

at::Tensor leaf(const at::Tensor& values) { return values.clone().requires_grad_(true); }

OptimizerOptions options_of(const json& example) {
  const json& params = example["params"];
  OptimizerOptions options;
  options.kind = example["optimizer"];
  if (options.kind == "sgd_absorbed") options.kind = "sgd";
  const bool absorbed =
      example["optimizer"] == "sgd_absorbed" || params.value("form", "") == "mlperf";
  if (absorbed) options.momentum_form = MomentumForm::kAbsorbed;
  options.momentum_correction = params.value("correction", false);
  options.momentum = params.value("momentum", 0.0);
  options.nesterov = params.value("nesterov", false);
  options.dampening = params.value("dampening", 0.0);
  options.weight_decay = params.value("weight_decay", 0.0);
  options.betas = params.value("betas", std::vector<double>());
  if (params.contains("eps")) options.epsilon = params["eps"];
  options.amsgrad = params.value("amsgrad", false);
  options.lr_decay = params.value("lr_decay", 0.0);
  options.initial_accumulator = params.value("initial_accumulator_value", 0.0);
  options.alpha = params.value("alpha", 0.99);
  options.centered = params.value("centered", false);
  options.rho = params.value("rho", 0.9);
  options.trust_coefficient = params.value("trust_coefficient", 0.001);
  options.trust_clip = params.value("trust_clip", false);
  if (params.contains("max_grad_norm")) {
    options.max_grad_norm =
        params["max_grad_norm"].is_null() ? 0 : params["max_grad_norm"].get<double>();
  }
  options.bias_correction = params.value("bias_correction", true);
  options.always_adapt = params.value("always_adapt", false);
  return options;
}

const json& golden() {
  static const json values =
      json::parse(std::ifstream(LARGO_SOURCE_DIR "/tests/golden/optimizers.json"));
  return values;
}

struct Trajectory {
  std::vector<Parameter> parameters;
  std::unique_ptr<Optimizer> optimizer;
};

Trajectory start(const json& example, at::ScalarType dtype) {
  const json& tensors = golden()["problem"]["tensors"];
  const json& no_decay = example["no_decay"];
  Trajectory run;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const bool exempt =
        std::find(no_decay.begin(), no_decay.end(), tensors[i]["name"]) != no_decay.end();
    const at::Tensor values = tensor_of(golden()["problem"]["w0"][i], tensors[i]["shape"]);
    run.parameters.push_back({tensors[i]["name"], leaf(values.to(dtype)), exempt});
  }
  run.optimizer = make_optimizer(options_of(example), run.parameters);
  return run;
}

void step(Trajectory& run, const json& golden_step) {
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < run.parameters.size(); ++i) {
    const json& shape = golden()["problem"]["tensors"][i]["shape"];
    const at::Tensor gradient = tensor_of(golden_step["grad"][i], shape);
    gradients.push_back(gradient.to(run.parameters[i].tensor.scalar_type()));
  }
  std::vector<at::Tensor> before;
  for (const at::Tensor& gradient : gradients) before.push_back(gradient.clone());
  run.optimizer->step(gradients, golden_step["lr"].get<double>());
  for (size_t i = 0; i < gradients.size(); ++i) EXPECT_TRUE(at::equal(gradients[i], before[i]));
}

class Golden : public testing::TestWithParam<size_t> {
 protected:
  const json& example() const { return golden()["cases"][GetParam()]; }
};

double largest_error(const Trajectory& run, const json& golden_step) {
  double most = 0;
  for (size_t i = 0; i < run.parameters.size(); ++i) {
    const at::Tensor expected =
        tensor_of(golden_step["w"][i], golden()["problem"]["tensors"][i]["shape"]);
    most = std::fmax(most, (run.parameters[i].tensor - expected).abs().max().item<double>());
  }
  return most;
}

TEST_P(Golden, TrajectoryToTwelveDigits) {
  Trajectory run = start(example(), at::kDouble);
  for (const json& golden_step : example()["steps"]) {
    step(run, golden_step);
    EXPECT_LE(largest_error(run, golden_step), 1e-12) << "step " << golden_step["t"];
  }
}

// Lion's sign is left out: it turns a rounding error around 0 into a whole step.
TEST_P(Golden, TrajectoryInSinglePrecision) {
  if (example()["optimizer"] == "lion") GTEST_SKIP() << "a sign is not continuous";
  Trajectory run = start(example(), at::kFloat);
  for (const json& golden_step : example()["steps"]) {
    step(run, golden_step);
    EXPECT_LE(largest_error(run, golden_step), 1e-5) << "step " << golden_step["t"];
  }
}

// Writing into state() is how a checkpoint is restored.
TEST_P(Golden, ContinuesFromItsState) {
  Trajectory whole = start(example(), at::kDouble);
  for (size_t t = 0; t < 2; ++t) step(whole, example()["steps"][t]);
  Trajectory resumed = start(example(), at::kDouble);
  for (size_t i = 0; i < whole.parameters.size(); ++i) {
    const at::NoGradGuard no_grad;
    resumed.parameters[i].tensor.copy_(whole.parameters[i].tensor);
  }
  const auto saved = whole.optimizer->state();
  const auto target = resumed.optimizer->state();
  ASSERT_EQ(saved.size(), target.size());
  for (size_t i = 0; i < saved.size(); ++i) {
    EXPECT_EQ(saved[i].first, target[i].first);
    target[i].second.copy_(saved[i].second);
  }
  for (size_t t = 2; t < 5; ++t) {
    step(whole, example()["steps"][t]);
    step(resumed, example()["steps"][t]);
  }
  for (size_t i = 0; i < whole.parameters.size(); ++i) {
    EXPECT_TRUE(at::equal(whole.parameters[i].tensor, resumed.parameters[i].tensor));
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::Range<size_t>(0, 38), [](const auto& info) {
  std::string name = golden()["cases"][info.param]["id"];
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

TEST(GoldenCases, AreAllOfTheFile) { EXPECT_EQ(golden()["cases"].size(), 38U); }

OptimizerOptions of_kind(const std::string& kind) {
  OptimizerOptions options;
  options.kind = kind;
  return options;
}

class EveryOptimizer : public testing::TestWithParam<std::string> {};

// A bias that has no gradient moves by its decay alone.
TEST_P(EveryOptimizer, ExemptsNormAndBiasFromDecayUnlessTold) {
  for (const bool include : {false, true}) {
    OptimizerOptions options = of_kind(GetParam());
    options.weight_decay = 0.5;
    options.decay_norm_and_bias = include;
    const at::Tensor bias = leaf(at::ones({3}));
    const auto optimizer =
        make_optimizer(options, {{"weight", leaf(at::ones({3})), false}, {"bias", bias, true}});
    optimizer->step(std::vector{at::ones({3}), at::zeros({3})}, 0.01);
    EXPECT_EQ(at::equal(bias, at::ones({3})), !include);
  }
}

// Weights in another order of memory are the same weights.
TEST_P(EveryOptimizer, IsTheSameInEveryLayout) {
  at::manual_seed(1);
  const at::Tensor values = at::randn({5, 3, 2, 2}, at::kDouble);
  const at::Tensor plain = leaf(values);
  const at::Tensor strided = leaf(values.contiguous(at::MemoryFormat::ChannelsLast));
  const auto first = make_optimizer(of_kind(GetParam()), {{"w", plain}});
  const auto second = make_optimizer(of_kind(GetParam()), {{"w", strided}});
  for (int t = 0; t < 3; ++t) {
    const at::Tensor gradient = at::randn_like(values);
    first->step(std::vector{gradient}, 0.1);
    second->step(std::vector{gradient.contiguous(at::MemoryFormat::ChannelsLast)}, 0.1);
  }
  EXPECT_TRUE(strided.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_LE((plain - strided).abs().max().item<double>(), 1e-14);
  EXPECT_GT((plain - values).abs().max().item<double>(), 1e-5);
}

// Zero weights and zero gradients have no norm to divide by.
TEST_P(EveryOptimizer, StaysFiniteAtZero) {
  const at::Tensor zeros = leaf(at::zeros({3}));
  const at::Tensor ones = leaf(at::ones({3}));
  const auto optimizer = make_optimizer(of_kind(GetParam()), {{"zeros", zeros}, {"ones", ones}});
  for (const double lr : {0.0, 0.1}) {
    optimizer->step(std::vector{at::ones({3}), at::zeros({3})}, lr);
    EXPECT_TRUE(at::isfinite(zeros).all().item<bool>());
    EXPECT_TRUE(at::isfinite(ones).all().item<bool>());
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryOptimizer,
                         testing::Values("sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw",
                                         "lion", "lars", "lamb"),
                         [](const auto& info) { return info.param; });

// With the same gradient at all times the variance ends as a rounding error, of either sign.
TEST(Rmsprop, StaysFiniteWithoutVariance) {
  OptimizerOptions options = of_kind("rmsprop");
  options.alpha = 0.5;
  options.centered = true;
  const at::Tensor weight = leaf(at::zeros({1000}));
  const auto optimizer = make_optimizer(options, {{"w", weight}});
  const at::Tensor gradient = at::linspace(0.1, 1, 1000);
  for (int t = 0; t < 60; ++t) optimizer->step(std::vector{gradient}, 1e-10);
  EXPECT_TRUE(at::isfinite(weight).all().item<bool>());
}

// The golden gradients are all above LAMB's largest norm.
TEST(Lamb, LeavesSmallGradientsAsTheyAre) {
  std::vector<at::Tensor> averages;
  for (const double most : {1.0, 0.0}) {
    OptimizerOptions options = of_kind("lamb");
    options.max_grad_norm = most;
    const auto optimizer = make_optimizer(options, {{"w", leaf(at::ones({3}))}});
    optimizer->step(std::vector{at::full({3}, 0.01)}, 0.1);
    averages.push_back(optimizer->state().at(0).second);
  }
  EXPECT_TRUE(at::equal(averages[0], averages[1]));
}

// A warm-up from zero: the corrected form is then the one with the learning rate outside, from the
// first step whose learning rate is not 0.
TEST(AbsorbedMomentum, IsCorrectedAfterALearningRateOfZero) {
  for (const char* kind : {"sgd", "lars"}) {
    OptimizerOptions options = of_kind(kind);
    options.momentum_form = MomentumForm::kAbsorbed;
    options.momentum_correction = true;
    const at::Tensor weight = leaf(at::ones({3}, at::kDouble));
    const auto optimizer = make_optimizer(options, {{"w", weight}});
    for (const double lr : {0.0, 0.1, 0.2}) {
      optimizer->step(std::vector{at::ones({3}, at::kDouble)}, lr);
    }
    const auto state = optimizer->state();
    EXPECT_TRUE(at::isfinite(weight).all().item<bool>());
    EXPECT_EQ(state.back().first, "last_lr");
    EXPECT_EQ(state.back().second.item<double>(), 0.2);
    if (options.kind == "sgd") {
      // v = 0.1, then 0.9 * 2 * 0.1 + 0.2
      EXPECT_NEAR(weight[0].item<double>(), 1 - 0.1 - 0.38, 1e-15);
    }
  }
}

}  // namespace
}  // namespace largo::optim
