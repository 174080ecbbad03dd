#include "trainer/nn/norm.h"

#include <gtest/gtest.h>

#include "comm/self_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/batch_norm.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {
namespace {

constexpr double kEpsilon = 1e-3;

class NormTest : public testing::TestWithParam<NormKind> {
 protected:
  std::shared_ptr<Norm> make(int64_t channels) {
    auto norm = make_norm({.kind = GetParam(), .groups = 2, .epsilon = kEpsilon}, channels, self_);
    norm->to(torch::kFloat64);
    const torch::NoGradGuard no_grad;
    norm->weight.copy_(random_tensor({channels}, 11));
    norm->bias.copy_(random_tensor({channels}, 12));
    return norm;
  }

  comm::SelfCommunicator self_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, NormTest,
                         testing::Values(NormKind::kBatch, NormKind::kSyncBatch, NormKind::kGroup));

// What the layer must compute in training, by plain operations.
torch::Tensor plain(NormKind kind, const torch::Tensor& x, const torch::Tensor& weight,
                    const torch::Tensor& bias) {
  torch::Tensor z = x;
  std::vector<int64_t> over = {0, 2, 3};
  if (kind == NormKind::kGroup) {
    z = x.reshape({x.size(0), 2, x.size(1) / 2, x.size(2), x.size(3)});
    over = {2, 3, 4};
  }
  const torch::Tensor centered = z - z.mean(over, /*keepdim=*/true);
  z = centered / (centered.square().mean(over, true) + kEpsilon).sqrt();
  return z.reshape(x.sizes()) * weight.view({1, -1, 1, 1}) + bias.view({1, -1, 1, 1});
}

TEST_P(NormTest, TrainingIsThePlainFormulaWithItsGradients) {
  for (const bool last : {false, true}) {
    for (const int64_t channels : {6, 16}) {
      const auto norm = make(channels);
      torch::Tensor x = random_tensor({5, channels, 3, 4}, 1) * 2 + 1;
      if (last) x = channels_last(x);
      x.requires_grad_();
      const torch::Tensor dy = random_tensor({5, channels, 3, 4}, 2);
      const TrainingStep step({5});
      const torch::Tensor y = norm->forward(x, step.context());
      EXPECT_EQ(y.strides(), x.strides());
      y.backward(dy);

      const torch::Tensor x2 = x.detach().clone().requires_grad_();
      const torch::Tensor weight2 = norm->weight.detach().clone().requires_grad_();
      const torch::Tensor bias2 = norm->bias.detach().clone().requires_grad_();
      const torch::Tensor y2 = plain(GetParam(), x2, weight2, bias2);
      y2.backward(dy);
      EXPECT_LE(relative_error(y.detach(), y2.detach()), 1e-12);
      EXPECT_LE(relative_error(x.grad(), x2.grad()), 1e-12);
      EXPECT_LE(relative_error(norm->weight.grad(), weight2.grad()), 1e-12);
      EXPECT_LE(relative_error(norm->bias.grad(), bias2.grad()), 1e-12);
    }
  }
}

TEST_P(NormTest, OutputMayBeChangedInPlaceAndInputNeedNoGradient) {
  const auto norm = make(4);
  const TrainingStep step({3});
  norm->forward(random_tensor({3, 4, 2, 2}, 3), step.context()).relu_().sum().backward();
  EXPECT_TRUE(norm->weight.grad().defined());
}

TEST_P(NormTest, NoSamplesGiveZeroGradients) {
  for (const bool training : {false, true}) {
    const auto norm = make(4);
    const TrainingStep step({0}, 8);
    StepContext context = step.context();
    context.training = training;
    const torch::Tensor x = torch::zeros({0, 4, 3, 3}, torch::kFloat64).requires_grad_();
    const torch::Tensor y = norm->forward(x, context);
    EXPECT_EQ(y.sizes(), x.sizes());
    y.sum().backward();
    EXPECT_EQ(x.grad().sizes(), x.sizes());
    EXPECT_TRUE(torch::equal(norm->weight.grad(), torch::zeros({4}, torch::kFloat64)));
    EXPECT_TRUE(torch::equal(norm->bias.grad(), torch::zeros({4}, torch::kFloat64)));
  }
}

TEST_P(NormTest, Float32StaysFloat32) {
  auto norm = make_norm({.kind = GetParam(), .groups = 2}, 4, self_);
  const TrainingStep step({3});
  const torch::Tensor x = random_tensor({3, 4, 2, 2}, 3, torch::kFloat32).requires_grad_();
  const torch::Tensor y = norm->forward(x, step.context());
  EXPECT_EQ(y.scalar_type(), torch::kFloat32);
  y.sum().backward();
  EXPECT_EQ(x.grad().scalar_type(), torch::kFloat32);
  EXPECT_EQ(norm->weight.grad().scalar_type(), torch::kFloat32);
}

class BatchNormTest : public NormTest {};
INSTANTIATE_TEST_SUITE_P(Kinds, BatchNormTest,
                         testing::Values(NormKind::kBatch, NormKind::kSyncBatch));

TEST_P(BatchNormTest, EvaluationUsesTheRunningStatistics) {
  const auto norm = std::dynamic_pointer_cast<BatchNorm>(make(3));
  const torch::NoGradGuard no_grad;
  norm->running_mean.copy_(random_tensor({3}, 4));
  norm->running_var.copy_(random_tensor({3}, 5).abs() + 0.1);
  const torch::Tensor x = random_tensor({2, 3, 4, 4}, 6);
  const auto wide = [](const torch::Tensor& t) { return t.view({1, -1, 1, 1}); };
  const torch::Tensor expected = (x - wide(norm->running_mean)) /
                                     (wide(norm->running_var) + kEpsilon).sqrt() *
                                     wide(norm->weight) +
                                 wide(norm->bias);
  EXPECT_LE(relative_error(norm->forward(x, {}), expected), 1e-13);
}

TEST_P(BatchNormTest, OneValuePerChannelHasVarianceZero) {
  const auto norm = std::dynamic_pointer_cast<BatchNorm>(make(3));
  const torch::Tensor mean = torch::zeros({3}, torch::kFloat64);
  const torch::Tensor variance = torch::zeros({3}, torch::kFloat64);
  norm->deposit_into(mean, variance);
  const torch::Tensor x = random_tensor({1, 3, 1, 1}, 7).requires_grad_();
  const TrainingStep step({1});
  const torch::Tensor y = norm->forward(x, step.context());
  EXPECT_LE(relative_error(y.detach().flatten(), norm->bias.detach()), 1e-14);
  y.sum().backward();
  EXPECT_LE(x.grad().abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(torch::equal(variance, torch::zeros({3}, torch::kFloat64)));
  EXPECT_LE(relative_error(mean, x.detach().flatten()), 1e-14);
}

TEST_P(BatchNormTest, TrainingAloneNeverWritesTheBuffers) {
  const auto norm = std::dynamic_pointer_cast<BatchNorm>(make(3));
  const TrainingStep step({4});
  norm->forward(random_tensor({4, 3, 2, 2}, 8), step.context());
  EXPECT_TRUE(torch::equal(norm->running_mean, torch::zeros({3}, torch::kFloat64)));
  EXPECT_TRUE(torch::equal(norm->running_var, torch::ones({3}, torch::kFloat64)));
  EXPECT_EQ(norm->num_batches_tracked.item<int64_t>(), 0);
}

TEST_P(BatchNormTest, TheCountOfBatchesStaysAnIntegerInEveryPrecision) {
  const auto norm = std::dynamic_pointer_cast<BatchNorm>(make(3));
  EXPECT_EQ(norm->running_mean.scalar_type(), torch::kFloat64);
  EXPECT_EQ(norm->num_batches_tracked.scalar_type(), torch::kInt64);
  norm->to(torch::kCPU, torch::kFloat32);
  EXPECT_EQ(norm->running_mean.scalar_type(), torch::kFloat32);
  EXPECT_EQ(norm->num_batches_tracked.scalar_type(), torch::kInt64);
}

}  // namespace
}  // namespace largo::nn
