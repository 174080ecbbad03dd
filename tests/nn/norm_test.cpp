#include "trainer/nn/norm.h"

#include <gtest/gtest.h>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/batch_norm.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {
namespace {

constexpr double kEpsilon = 1e-3;
constexpr int64_t kVirtualBatch = 2;

class NormTest : public testing::TestWithParam<NormKind> {
 protected:
  NormOptions options(bool affine = true) const {
    NormOptions result = {.kind = GetParam(), .virtual_batch = kVirtualBatch};
    if (GetParam() == NormKind::kGroup) result.groups = 2;
    result.epsilon = kEpsilon;
    result.affine = affine;
    return result;
  }

  std::shared_ptr<Norm> make(int64_t channels, bool affine = true) {
    auto norm = make_norm(options(affine), channels, self_);
    norm->to(torch::kFloat64);
    const torch::NoGradGuard no_grad;
    if (affine) norm->weight.copy_(random_tensor({channels}, 11));
    if (affine) norm->bias.copy_(random_tensor({channels}, 12));
    return norm;
  }

  comm::SelfCommunicator self_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, NormTest,
                         testing::Values(NormKind::kBatch, NormKind::kSyncBatch,
                                         NormKind::kGhostBatch, NormKind::kGroup, NormKind::kLayer,
                                         NormKind::kInstance));

torch::Tensor standardize(const torch::Tensor& x, at::IntArrayRef over) {
  const torch::Tensor centered = x - x.mean(over, /*keepdim=*/true);
  return centered / (centered.square().mean(over, true) + kEpsilon).sqrt();
}

torch::Tensor standardize_groups(const torch::Tensor& x, int64_t groups) {
  return standardize(x.reshape({x.size(0), groups, -1}), {2}).reshape(x.sizes());
}

// What the layer must compute in training before weight and bias, by plain operations.
torch::Tensor plain(NormKind kind, const torch::Tensor& x) {
  switch (kind) {
    case NormKind::kBatch:
    case NormKind::kSyncBatch:
      return standardize(x, {0, 2, 3});
    case NormKind::kGhostBatch: {
      std::vector<torch::Tensor> parts;
      for (const torch::Tensor& part : x.split(kVirtualBatch)) {
        parts.push_back(standardize(part, {0, 2, 3}));
      }
      return torch::cat(parts);
    }
    case NormKind::kGroup:
      return standardize_groups(x, 2);
    case NormKind::kLayer:
      return standardize_groups(x, 1);
    case NormKind::kInstance:
      return standardize_groups(x, x.size(1));
    case NormKind::kNone:
      return x;
  }
  return {};
}

// The last shape is large enough for the kernel that sums up one set of samples at a time.
TEST_P(NormTest, TrainingIsThePlainFormulaWithItsGradients) {
  const auto wide = [](const torch::Tensor& t) { return t.view({1, -1, 1, 1}); };
  for (const auto& sizes : {std::vector<int64_t>{5, 6, 3, 4}, {5, 16, 3, 4}, {5, 18, 61, 62}}) {
    torch::Tensor x = random_tensor(sizes, 1) * 2 + 1;
    const torch::Tensor dy = random_tensor(sizes, 2);
    const torch::Tensor weight = random_tensor({sizes[1]}, 11).requires_grad_();
    const torch::Tensor bias = random_tensor({sizes[1]}, 12).requires_grad_();
    const torch::Tensor x2 = x.clone().requires_grad_();
    (plain(GetParam(), x2) * wide(weight) + wide(bias)).backward(dy);

    for (const bool last : {false, true}) {
      const auto norm = make(sizes[1]);
      if (last) x = channels_last(x);
      x = x.detach().requires_grad_();
      const TrainingStep step({5});
      const torch::Tensor y = norm->forward(x, step.context());
      EXPECT_EQ(y.strides(), x.strides());
      y.backward(dy);
      EXPECT_LE(relative_error(y.detach(), plain(GetParam(), x.detach()) * wide(weight.detach()) +
                                               wide(bias.detach())),
                1e-12);
      EXPECT_LE(relative_error(x.grad(), x2.grad()), 1e-12);
      EXPECT_LE(relative_error(norm->weight.grad(), weight.grad()), 1e-12);
      EXPECT_LE(relative_error(norm->bias.grad(), bias.grad()), 1e-12);
    }
  }
}

TEST_P(NormTest, WithoutAffineThereAreNoParameters) {
  const auto norm = make(6, /*affine=*/false);
  EXPECT_TRUE(norm->parameters().empty());
  const torch::Tensor x = random_tensor({5, 6, 3, 4}, 1).requires_grad_();
  const torch::Tensor x2 = x.detach().clone().requires_grad_();
  const torch::Tensor dy = random_tensor(x.sizes(), 2);
  const TrainingStep step({5});
  const torch::Tensor y = norm->forward(x, step.context());
  const torch::Tensor y2 = plain(GetParam(), x2);
  y.backward(dy);
  y2.backward(dy);
  EXPECT_LE(relative_error(y.detach(), y2.detach()), 1e-12);
  EXPECT_LE(relative_error(x.grad(), x2.grad()), 1e-12);
  EXPECT_EQ(norm->forward(x.detach(), {}).sizes(), x.sizes());
}

TEST_P(NormTest, OutputMayBeChangedInPlaceAndInputNeedNoGradient) {
  const auto norm = make(4);
  const TrainingStep step({3});
  norm->forward(random_tensor({3, 4, 2, 2}, 3), step.context()).relu_().sum().backward();
  EXPECT_TRUE(norm->weight.grad().defined());
}

TEST_P(NormTest, NoSamplesGiveZeroGradients) {
  for (const bool training : {false, true}) {
    for (const bool affine : {false, true}) {
      const auto norm = make(4, affine);
      const TrainingStep step({0}, 8);
      StepContext context = step.context();
      context.training = training;
      const torch::Tensor x = torch::zeros({0, 4, 3, 3}, torch::kFloat64).requires_grad_();
      const torch::Tensor y = norm->forward(x, context);
      EXPECT_EQ(y.sizes(), x.sizes());
      y.sum().backward();
      EXPECT_EQ(x.grad().sizes(), x.sizes());
      for (const torch::Tensor& parameter : norm->parameters()) {
        EXPECT_TRUE(torch::equal(parameter.grad(), torch::zeros({4}, torch::kFloat64)));
      }
    }
  }
}

TEST_P(NormTest, Float32StaysFloat32) {
  const auto norm = make_norm(options(), 4, self_);
  const TrainingStep step({3});
  const torch::Tensor x = random_tensor({3, 4, 2, 2}, 3, torch::kFloat32).requires_grad_();
  const torch::Tensor y = norm->forward(x, step.context());
  EXPECT_EQ(y.scalar_type(), torch::kFloat32);
  y.sum().backward();
  EXPECT_EQ(x.grad().scalar_type(), torch::kFloat32);
  EXPECT_EQ(norm->weight.grad().scalar_type(), torch::kFloat32);
}

class SampleNormTest : public NormTest {};
INSTANTIATE_TEST_SUITE_P(Kinds, SampleNormTest,
                         testing::Values(NormKind::kGroup, NormKind::kLayer, NormKind::kInstance));

TEST_P(SampleNormTest, DoesNotDependOnTheBatch) {
  for (const auto& sizes : {std::vector<int64_t>{6, 4, 3, 4}, {6, 32, 9, 9}}) {
    for (const bool last : {false, true}) {
      const auto whole = make(sizes[1]);
      torch::Tensor x = random_tensor(sizes, 1) * 3 + 7;
      torch::Tensor dy = random_tensor(sizes, 2);
      if (last) x = channels_last(x);
      if (last) dy = channels_last(dy);
      x.requires_grad_();
      const torch::Tensor y = whole->forward(x, TrainingStep({6}).context());
      y.backward(dy);

      const auto split = make(sizes[1]);
      int64_t first = 0;
      for (const int64_t samples : {1, 0, 3, 2}) {
        const torch::Tensor part = x.detach().narrow(0, first, samples).clone().requires_grad_();
        const torch::Tensor out = split->forward(part, TrainingStep({samples}).context());
        out.backward(dy.narrow(0, first, samples));
        EXPECT_LE(relative_error(out.detach(), y.detach().narrow(0, first, samples)), 1e-12);
        EXPECT_LE(relative_error(part.grad(), x.grad().narrow(0, first, samples)), 1e-12);
        first += samples;
      }
      EXPECT_LE(relative_error(split->weight.grad(), whole->weight.grad()), 1e-12);
      EXPECT_LE(relative_error(split->bias.grad(), whole->bias.grad()), 1e-12);
    }
  }
}

TEST_P(SampleNormTest, EvaluationIsTraining) {
  const auto norm = make(4);
  EXPECT_TRUE(norm->buffers().empty());
  const torch::Tensor x = random_tensor({3, 4, 2, 2}, 3);
  EXPECT_TRUE(torch::equal(norm->forward(x, {}), norm->forward(x, TrainingStep({3}).context())));
}

TEST(InstanceNormTest, OneValuePerChannelGivesTheBias) {
  comm::SelfCommunicator self;
  const auto norm = make_norm({.kind = NormKind::kInstance}, 3, self);
  const torch::NoGradGuard no_grad;
  norm->bias.copy_(torch::tensor({1.0F, -2.0F, 0.5F}));
  const torch::Tensor x = random_tensor({4, 3, 1, 1}, 1, torch::kFloat32) * 100;
  EXPECT_LE(relative_error(norm->forward(x, {}).flatten(1), norm->bias.expand({4, 3})), 1e-6);
}

TEST(InstanceNormTest, LosesNothingToALargeMean) {
  comm::SelfCommunicator self;
  for (const bool last : {false, true}) {
    const auto norm = make_norm({.kind = NormKind::kInstance}, 3, self);
    torch::Tensor x = random_tensor({4, 3, 9, 9}, 1, torch::kFloat32) + 1e4F;
    if (last) x = channels_last(x);
    const torch::Tensor wide = x.to(torch::kFloat64);
    const torch::Tensor centered = wide - wide.mean({2, 3}, true);
    const torch::Tensor expected =
        centered / (centered.square().mean({2, 3}, true) + NormOptions{}.epsilon).sqrt();
    EXPECT_LE(relative_error(norm->forward(x, {}).detach(), expected), 1e-6);
  }
}

TEST(GroupNormTest, TakesGroupsOrChannelsPerGroup) {
  comm::SelfCommunicator self;
  const torch::Tensor x = random_tensor({2, 12, 3, 3}, 1, torch::kFloat32);
  const auto groups = make_norm({.kind = NormKind::kGroup, .groups = 4}, 12, self)->forward(x, {});
  const auto each =
      make_norm({.kind = NormKind::kGroup, .channels_per_group = 3}, 12, self)->forward(x, {});
  EXPECT_TRUE(torch::equal(groups, each));
  EXPECT_FALSE(torch::allclose(
      groups, make_norm({.kind = NormKind::kGroup, .groups = 3}, 12, self)->forward(x, {})));
  EXPECT_THROW(make_norm({.kind = NormKind::kGroup, .groups = 5}, 12, self), Error);
  EXPECT_THROW(make_norm({.kind = NormKind::kGroup, .channels_per_group = 24}, 12, self), Error);
}

TEST(NoNormTest, IsNotThere) {
  comm::SelfCommunicator self;
  const auto norm = make_norm({.kind = NormKind::kNone}, 3, self);
  EXPECT_TRUE(norm->parameters().empty());
  EXPECT_TRUE(norm->buffers().empty());
  const torch::Tensor x = random_tensor({2, 3, 4, 4}, 1);
  EXPECT_TRUE(norm->forward(x, TrainingStep({2}).context()).is_same(x));
  EXPECT_TRUE(norm->forward(x, {}).is_same(x));
}

class BatchNormTest : public NormTest {};
INSTANTIATE_TEST_SUITE_P(Kinds, BatchNormTest,
                         testing::Values(NormKind::kBatch, NormKind::kSyncBatch,
                                         NormKind::kGhostBatch));

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
