#include "trainer/nn/conv.h"

#include <gtest/gtest.h>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {
namespace {

std::shared_ptr<Conv> make_conv(const ConvShape& shape, bool standardize) {
  auto conv = std::make_shared<Conv>(shape, standardize);
  conv->to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : conv->parameters()) {
    parameter.copy_(random_tensor(parameter.sizes(), parameter.numel()));
  }
  make_channels_last(*conv);
  return conv;
}

TEST(ConvTest, PlainWithAndWithoutBias) {
  for (const bool bias : {false, true}) {
    const auto conv = make_conv({.in = 3, .out = 5, .kernel = 5, .stride = 2, .bias = bias}, false);
    EXPECT_EQ(conv->bias.defined(), bias);
    EXPECT_EQ(conv->parameters().size(), bias ? 2u : 1u);
    const torch::Tensor x = random_tensor({2, 3, 9, 9}, 1);
    const torch::Tensor expected = at::conv2d(x, conv->weight, conv->bias, 2, 2);
    EXPECT_TRUE(torch::equal(conv->forward(x), expected));
  }
}

TEST(ConvTest, StandardizedWeights) {
  for (const int64_t kernel : {1, 3}) {
    const auto conv = make_conv({.in = 4, .out = 6, .kernel = kernel, .bias = true}, true);
    const torch::Tensor x = random_tensor({2, 4, 7, 7}, 1);
    const torch::Tensor y = conv->forward(x);
    y.square().sum().backward();

    // Written out, with n - 1 in the variance.
    const torch::Tensor weight = conv->weight.detach().clone().requires_grad_();
    const torch::Tensor rows = weight.reshape({6, -1});
    const torch::Tensor centered = rows - rows.sum(1, true) / rows.size(1);
    const torch::Tensor std = (centered.square().sum(1, true) / (rows.size(1) - 1)).sqrt();
    const torch::Tensor standardized = (centered / (std + 1e-5)).reshape(weight.sizes());
    const torch::Tensor expected = at::conv2d(x, standardized, conv->bias, 1, kernel / 2);
    expected.square().sum().backward();
    EXPECT_LE(relative_error(y.detach(), expected.detach()), 1e-13);
    EXPECT_LE(relative_error(conv->weight.grad(), weight.grad()), 1e-11);
  }
}

TEST(ConvTest, EqualWeightsGiveZeroAndAFiniteGradient) {
  const auto conv = make_conv({.in = 2, .out = 2}, true);
  {
    const torch::NoGradGuard no_grad;
    conv->weight.fill_(0.5);
  }
  const torch::Tensor y = conv->forward(random_tensor({1, 2, 4, 4}, 1));
  EXPECT_TRUE(y.eq(0).all().item<bool>());
  y.sum().backward();
  EXPECT_TRUE(conv->weight.grad().isfinite().all().item<bool>());
}

TEST(ConvTest, KeepsChannelsLast) {
  for (const bool standardize : {false, true}) {
    for (const int64_t in : {1, 3}) {
      for (const int64_t kernel : {3, 7}) {
        const auto conv = make_conv({.in = in, .out = 4, .kernel = kernel}, standardize);
        const torch::Tensor y = conv->forward(channels_last(random_tensor({2, in, 8, 8}, 1)));
        EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast)) << in << " " << kernel;
        y.sum().backward();
        EXPECT_EQ(conv->weight.grad().sizes(), conv->weight.sizes());
      }
    }
  }
}

TEST(ConvTest, RefusesWhatHasNoStandardDeviation) {
  EXPECT_THROW(Conv({.in = 1, .out = 4, .kernel = 1}, true), Error);
  EXPECT_THROW(Conv({.in = 1, .out = 4, .kernel = 2}, false), Error);
}

TEST(ConvTest, WithItsNorm) {
  struct Pair final : torch::nn::Module {};
  comm::SelfCommunicator self;
  for (const bool standardize : {false, true}) {
    Pair parent;
    const ModelOptions options = {.name = "",
                                  .norm = {.kind = NormKind::kGroup, .groups = 2},
                                  .weight_standardization = standardize};
    const ConvNorm layer = add_conv_norm(parent, "conv", "bn", {.in = 3, .out = 4}, options, self);
    EXPECT_TRUE(parent.named_parameters().contains("conv.weight"));
    EXPECT_TRUE(parent.named_parameters().contains("bn.weight"));
    EXPECT_FALSE(parent.named_parameters().contains("conv.bias"));
    parent.to(torch::kFloat64);
    const torch::NoGradGuard no_grad;
    layer.conv->weight.copy_(random_tensor({4, 3, 3, 3}, 2));
    const torch::Tensor x = random_tensor({2, 3, 5, 5}, 1);
    const torch::Tensor y = layer.forward(x, {});
    EXPECT_LE(relative_error(y, layer.norm->forward(layer.conv->forward(x), {})), 1e-14);
    layer.conv->weight.add_(1);
    EXPECT_EQ(relative_error(layer.forward(x, {}), y) < 1e-9, standardize);
  }
}

}  // namespace
}  // namespace largo::nn
