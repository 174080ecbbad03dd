#include "trainer/nn/autocast.h"

#include <ATen/autocast_mode.h>

#include "comm/base/error.h"
#include "tests/nn/models_test_util.h"
#include "tests/nn/norm_step.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/running_stats.h"

namespace largo::nn {
namespace {

namespace ac = at::autocast;

torch::Dtype product_type() {
  return at::linear(torch::ones({2, 2}), torch::ones({2, 2})).scalar_type();
}

TEST(AutocastTest, ReachesAsFarAsItsScope) {
  EXPECT_EQ(product_type(), torch::kFloat32);
  {
    const Autocast outer(torch::kCPU, torch::kBFloat16);
    EXPECT_EQ(product_type(), torch::kBFloat16);
    {
      const Autocast inner(torch::kCPU, torch::kBFloat16);
      EXPECT_EQ(product_type(), torch::kBFloat16);
    }
    EXPECT_EQ(product_type(), torch::kBFloat16);
    {
      const Autocast nothing(torch::kCPU, torch::kFloat32);
      EXPECT_EQ(product_type(), torch::kBFloat16);
    }
    // Double precision is left alone, in which tests compare.
    const torch::Tensor exact = torch::ones({2, 2}, torch::kFloat64);
    EXPECT_EQ(at::linear(exact, exact).scalar_type(), torch::kFloat64);
  }
  EXPECT_EQ(product_type(), torch::kFloat32);
}

TEST(AutocastTest, LeavesTheThreadsStateAsItWas) {
  const torch::Dtype dtype = ac::get_autocast_dtype(torch::kCPU);
  ac::set_autocast_dtype(torch::kCPU, torch::kHalf);
  ac::set_autocast_cache_enabled(false);
  {
    const Autocast autocast(torch::kCPU, torch::kBFloat16);
    EXPECT_TRUE(ac::is_autocast_cache_enabled());
  }
  EXPECT_EQ(ac::get_autocast_dtype(torch::kCPU), torch::kHalf);
  EXPECT_FALSE(ac::is_autocast_cache_enabled());
  EXPECT_FALSE(ac::is_autocast_enabled(torch::kCPU));
  ac::set_autocast_cache_enabled(true);
  ac::set_autocast_dtype(torch::kCPU, dtype);
  EXPECT_EQ(ac::increment_nesting(), 1);  // all levels were left again
  ac::decrement_nesting();
}

TEST(AutocastTest, OfAGpuLeavesTheCpuAlone) {
  const Autocast autocast(torch::kCUDA, torch::kBFloat16);
  EXPECT_EQ(product_type(), torch::kFloat32);
}

TEST(AutocastTest, KeptCastsEndWithTheOutermostScope) {
  const torch::Tensor x = torch::ones({1, 4});
  const torch::Tensor weight = torch::ones({1, 4}).requires_grad_();
  for (const double value : {1.0, 3.0}) {
    {
      const torch::NoGradGuard no_grad;
      weight.fill_(value);
    }
    const Autocast autocast(torch::kCPU, torch::kBFloat16);
    EXPECT_EQ(at::linear(x, weight).item<double>(), 4 * value);
  }
}

TEST(AutocastTest, RefusesOtherTypes) {
  EXPECT_THROW(Autocast(torch::kCPU, torch::kHalf), Error);
  EXPECT_FALSE(ac::is_autocast_enabled(torch::kCPU));
}

class AutocastModelsTest : public ModelsTest {
 protected:
  struct Step {
    torch::Tensor gradients = {};  // one after the other
    std::vector<torch::Tensor> buffers = {};
    double loss = 0;
  };

  // Forward and backward of one batch, in `dtype`.
  Step step(const ModelSpec& spec, torch::Dtype dtype, int64_t samples = 4) {
    const auto model = make(spec);
    make_channels_last(*model);
    RunningStatistics statistics(*model);
    statistics.begin_step();
    const KeyedStep keys(samples);
    const torch::Tensor images =
        random_tensor({samples, spec.channels, spec.height, spec.width}, 5, torch::kFloat32);
    torch::Tensor logits;
    {
      const Autocast autocast(torch::kCPU, dtype);
      logits = model->forward(images, keys.context());
    }
    EXPECT_EQ(logits.scalar_type(), dtype);
    const torch::Tensor labels = torch::arange(samples, torch::kInt64).remainder(10);
    const torch::Tensor loss = cross_entropy_sum(logits, {labels}, 0.1);
    EXPECT_EQ(loss.scalar_type(), torch::kFloat32);
    loss.backward();
    statistics.apply();

    Step step{.loss = loss.item<double>()};
    std::vector<torch::Tensor> parts;
    for (const auto& parameter : named_parameters(*model)) {
      const torch::Tensor gradient = parameter.tensor.grad();
      EXPECT_EQ(gradient.scalar_type(), torch::kFloat32) << parameter.name;
      EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << parameter.name;
      parts.push_back(gradient.flatten());
    }
    for (const torch::Tensor& buffer : model->buffers()) {
      EXPECT_NE(buffer.scalar_type(), torch::kBFloat16);
      step.buffers.push_back(buffer.to(torch::kFloat64));
    }
    step.gradients = torch::cat(parts).to(torch::kFloat64);
    return step;
  }

  void expect_alike(const ModelSpec& spec, double least_cosine) {
    SCOPED_TRACE(spec.options.name + " with norm " +
                 std::to_string(static_cast<int>(spec.options.norm.kind)));
    const Step single = step(spec, torch::kFloat32);
    const Step half = step(spec, torch::kBFloat16);
    EXPECT_NEAR(half.loss, single.loss, 0.05 * single.loss);
    const double cosine =
        (single.gradients.dot(half.gradients) / (single.gradients.norm() * half.gradients.norm()))
            .item<double>();
    EXPECT_GT(cosine, least_cosine);
    for (size_t i = 0; i < single.buffers.size(); ++i) {
      EXPECT_LE(relative_error(half.buffers[i], single.buffers[i]), 0.05) << i;
    }
  }
};

constexpr NormKind kKinds[] = {NormKind::kBatch, NormKind::kSyncBatch, NormKind::kGhostBatch,
                               NormKind::kGroup, NormKind::kLayer,     NormKind::kInstance,
                               NormKind::kNone};

// Activations keep bfloat16; what is summed up is as exact as of the same values in float64.
TEST_F(AutocastModelsTest, NormsOfHalfPrecisionImages) {
  const NormProblem problem = make_problem({6, 8, 5, 4}).to(torch::kBFloat16);
  for (const NormKind kind : kKinds) {
    SCOPED_TRACE(static_cast<int>(kind));
    const auto run = [&](torch::Dtype images, torch::Dtype parameters, int64_t samples) {
      OneNorm model({.kind = kind, .virtual_batch = 4, .epsilon = 1e-5}, 8, self_);
      model.to(parameters);
      RunningStatistics statistics(model);
      const TrainingStep step({samples}, 6);
      const torch::Tensor x =
          channels_last(problem.x.narrow(0, 0, samples).to(images)).requires_grad_();
      const Autocast autocast(torch::kCPU, torch::kBFloat16);
      const torch::Tensor y = model.forward(x, step.context());
      EXPECT_EQ(y.scalar_type(), images);
      EXPECT_EQ(y.strides(), x.strides());
      y.backward(problem.dy.narrow(0, 0, samples).to(images));
      EXPECT_EQ(x.grad().scalar_type(), images);
      statistics.apply();
      NormOutcome outcome;
      outcome.y = y.detach();
      outcome.dx = x.grad();
      if (kind == NormKind::kNone) return outcome;
      outcome.dweight = model.norm->weight.grad();
      outcome.dbias = model.norm->bias.grad();
      if (const auto* const layer = dynamic_cast<const BatchNorm*>(model.norm.get())) {
        outcome.running_mean = layer->running_mean;
        outcome.running_var = layer->running_var;
      }
      return outcome;
    };
    run(torch::kBFloat16, torch::kFloat32, 0);
    const NormOutcome half = run(torch::kBFloat16, torch::kFloat32, 6);
    const NormOutcome exact = run(torch::kFloat64, torch::kFloat64, 6);
    EXPECT_LE(relative_error(half.y, exact.y), 3e-3);
    EXPECT_LE(relative_error(half.dx, exact.dx), 5e-3);
    if (kind == NormKind::kNone) continue;
    EXPECT_LE(relative_error(half.dweight, exact.dweight), 5e-3);
    EXPECT_LE(relative_error(half.dbias, exact.dbias), 5e-3);
    if (!half.running_mean.defined()) continue;
    EXPECT_LE(relative_error(half.running_mean, exact.running_mean), 1e-5);
    EXPECT_LE(relative_error(half.running_var, exact.running_var), 1e-5);
  }
}

TEST_F(AutocastModelsTest, NetsWithoutNorms) {
  expect_alike(make_spec("mlp"), 0.99);
  expect_alike(make_spec("lenet"), 0.95);
  expect_alike(make_spec("cnn3"), 0.95);
}

TEST_F(AutocastModelsTest, EveryNormKind) {
  for (const NormKind kind : kKinds) {
    ModelSpec spec = make_spec("resnet8", kind);
    spec.norm_given = true;
    spec.options.norm.virtual_batch = 3;
    expect_alike(spec, 0.95);
    if (kind == NormKind::kNone) continue;
    spec.options.norm.affine = false;
    expect_alike(spec, 0.95);
    spec.options.norm.affine = true;
    spec.options.name = "cnn3";
    expect_alike(spec, 0.95);
  }
}

TEST_F(AutocastModelsTest, WeightStandardization) {
  ModelSpec spec = make_spec("resnet8", NormKind::kGroup);
  spec.options.weight_standardization = true;
  expect_alike(spec, 0.95);
}

// Deeper nets amplify any rounding: the direction is compared loosely.
TEST_F(AutocastModelsTest, DeeperNets) {
  expect_alike(make_spec("narrow_vgg16", NormKind::kBatch), 0.5);
  for (const NormKind kind : {NormKind::kBatch, NormKind::kSyncBatch, NormKind::kGroup}) {
    expect_alike(make_spec("resnet18", kind, 3, 64), 0.5);
  }
}

TEST_F(AutocastModelsTest, ARankWithoutSamples) {
  for (const NormKind kind : kKinds) {
    const auto model = make(make_spec("resnet8", kind));
    const KeyedStep keys(0);
    torch::Tensor logits;
    {
      const Autocast autocast(torch::kCPU, torch::kBFloat16);
      logits = model->forward(torch::zeros({0, 3, 32, 32}), keys.context());
    }
    cross_entropy_sum(logits, {torch::zeros({0}, torch::kInt64)}, 0).backward();
    for (const auto& parameter : named_parameters(*model)) {
      ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
      EXPECT_EQ(parameter.tensor.grad().count_nonzero().item<int64_t>(), 0) << parameter.name;
    }
  }
}

// 30 steps on 16 images that can be told by their colour.
TEST_F(AutocastModelsTest, TheLossFallsAsInSinglePrecision) {
  const torch::Tensor labels = torch::arange(16, torch::kInt64).remainder(4);
  const torch::Tensor images = 0.5 * random_tensor({16, 3, 32, 32}, 5, torch::kFloat32) +
                               torch::eye(4, 3).index_select(0, labels).view({16, 3, 1, 1});
  const KeyedStep keys(16);
  const auto losses = [&](torch::Dtype dtype) {
    const auto model = make(make_spec("resnet8"));
    std::vector<double> losses;
    for (int step = 0; step < 30; ++step) {
      torch::Tensor logits;
      {
        const Autocast autocast(torch::kCPU, dtype);
        logits = model->forward(images, keys.context());
      }
      model->zero_grad();
      const torch::Tensor loss = cross_entropy_sum(logits, {labels}, 0) / 16;
      loss.backward();
      losses.push_back(loss.item<double>());
      const torch::NoGradGuard no_grad;
      for (const auto& parameter : named_parameters(*model)) {
        parameter.tensor.add_(parameter.tensor.grad(), -0.1);
      }
    }
    return losses;
  };
  const std::vector<double> half = losses(torch::kBFloat16);
  const std::vector<double> single = losses(torch::kFloat32);
  EXPECT_LT(half.back(), 0.5 * half.front());
  EXPECT_NEAR(half.back(), single.back(), 0.1 * single.front());
}

TEST_F(AutocastModelsTest, EvaluationCountsInSinglePrecision) {
  const torch::Tensor logits = random_tensor({6, 10}, 1, torch::kBFloat16);
  const torch::Tensor labels = torch::arange(6, torch::kInt64);
  EXPECT_TRUE(
      torch::equal(EvalSums::of(logits, labels), EvalSums::of(logits.to(torch::kFloat32), labels)));
}

}  // namespace
}  // namespace largo::nn
