#include "trainer/optim/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "comm/base/error.h"

namespace largo::optim {
namespace {

at::Tensor leaf(const at::Tensor& values) { return values.clone().requires_grad_(true); }

TEST(Sgd, ExemptsNormAndBiasFromDecayUnlessTold) {
  for (const bool include : {false, true}) {
    const at::Tensor weight = leaf(at::ones({3}));
    const at::Tensor bias = leaf(at::ones({3}));
    const auto optimizer =
        make_optimizer({.momentum = 0, .weight_decay = 0.5, .decay_norm_and_bias = include},
                       {{"weight", weight, false}, {"bias", bias, true}});
    optimizer->step(std::vector{at::zeros({3}), at::zeros({3})}, 1.0);
    EXPECT_EQ(weight.min().item<float>(), 0.5F);
    EXPECT_EQ(bias.min().item<float>(), include ? 0.5F : 1.0F);
  }
}

// Channels_last weights stay so, in value and in strides, and take channels_last gradients.
TEST(Sgd, KeepsLayoutsAndAliasesOneFlatTensor) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor values =
        at::arange(5 * 3 * 2 * 2, at::TensorOptions(dtype)).reshape({5, 3, 2, 2});
    const at::Tensor weight = leaf(values.contiguous(at::MemoryFormat::ChannelsLast));
    const at::Tensor bias = leaf(at::ones({5}, dtype));
    const auto strides = weight.strides().vec();
    const auto optimizer = make_optimizer({.momentum = 0.5}, {{"weight", weight}, {"bias", bias}});

    EXPECT_TRUE(at::equal(weight, values));
    EXPECT_EQ(weight.strides().vec(), strides);
    EXPECT_TRUE(weight.requires_grad());
    EXPECT_TRUE(weight.is_leaf());
    EXPECT_TRUE(weight.storage().is_alias_of(bias.storage()));
    for (const at::Tensor& tensor : {weight, bias}) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64, 0U);
    }

    const at::Tensor gradient = at::randn_like(values);
    const at::Tensor strided = gradient.contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor before = strided.clone();
    optimizer->step(std::vector{strided, at::zeros({5}, dtype)}, 2.0);
    EXPECT_TRUE(at::allclose(weight, values - 2 * gradient));
    EXPECT_TRUE(at::equal(strided, before));
    const auto state = optimizer->state();
    EXPECT_EQ(state.at(0).first, "weight.momentum");
    EXPECT_EQ(state.at(0).second.strides().vec(), strides);
    EXPECT_TRUE(at::equal(state.at(0).second, gradient));
    EXPECT_EQ(state.at(1).first, "bias.momentum");

    EXPECT_THROW(optimizer->step(std::vector{gradient.contiguous(), at::zeros({5}, dtype)}, 2.0),
                 Error);
  }
}

TEST(Sgd, AcceptsEitherStridesOfAOneByOneConvolution) {
  const at::Tensor weight = leaf(at::zeros({4, 3, 1, 1}));
  const auto optimizer = make_optimizer({.momentum = 0}, {{"weight", weight}});
  const at::Tensor gradient = at::randn({4, 3, 1, 1}).as_strided({4, 3, 1, 1}, {3, 1, 3, 3});
  optimizer->step(std::vector{gradient}, 1.0);
  EXPECT_TRUE(at::equal(weight, -gradient));
  EXPECT_TRUE(optimizer->state().empty());
}

// Autograd must go on working with parameters whose storage was moved.
TEST(Sgd, TrainsThroughAutograd) {
  const at::Tensor weight = leaf(at::full({2}, 3.0));
  const auto optimizer = make_optimizer({.momentum = 0}, {{"weight", weight}});
  for (int i = 0; i < 3; ++i) {
    weight.mutable_grad() = at::Tensor();
    (weight * weight).sum().backward();
    optimizer->step(std::vector{weight.grad()}, 0.25);
  }
  EXPECT_FLOAT_EQ(weight[0].item<float>(), 3.0F / 8);
}

// Writing into state() is how a checkpoint is restored.
TEST(Sgd, StateContinuesATrajectory) {
  const auto gradients = std::vector{at::randn({7}, at::kDouble)};
  const at::Tensor first = leaf(at::ones({7}, at::kDouble));
  const auto uninterrupted = make_optimizer({.nesterov = true}, {{"w", first}});
  uninterrupted->step(gradients, 0.1);
  const at::Tensor second = leaf(first.detach());
  const auto resumed = make_optimizer({.nesterov = true}, {{"w", second}});
  resumed->state().at(0).second.copy_(uninterrupted->state().at(0).second);
  uninterrupted->step(gradients, 0.1);
  resumed->step(gradients, 0.1);
  EXPECT_TRUE(at::equal(first, second));
}

TEST(Sgd, RefusesExpandedParametersAndMissingGradients) {
  EXPECT_THROW(make_optimizer({}, {{"w", at::ones({1}).expand({3})}}), Error);
  EXPECT_THROW(make_optimizer({}, {{"a", at::ones({3})}, {"b", at::ones({3}, at::kDouble)}}),
               Error);
  const auto optimizer = make_optimizer({}, {{"w", leaf(at::ones({3}))}});
  EXPECT_THROW(optimizer->step(std::vector<at::Tensor>{at::Tensor()}, 0.1), Error);
  EXPECT_THROW(optimizer->step(std::vector<at::Tensor>{}, 0.1), Error);
}

TEST(GradNorm, SumsInDoublePrecision) {
  // In single precision 1e10 + 1 is 1e10.
  const at::Tensor large = at::full({1}, 1e5);
  const at::Tensor small = at::full({10000}, 1.0);
  const at::Tensor norm = grad_norm(std::vector{large, small});
  EXPECT_EQ(norm.dim(), 0);
  EXPECT_EQ(norm.scalar_type(), at::kDouble);
  EXPECT_NEAR(norm.item<double>(), std::sqrt(1e10 + 1e4), 1e-8);

  const at::Tensor image = at::randn({4, 3, 5, 5}, at::kDouble);
  const at::Tensor strided = image.contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_NEAR(grad_norm(std::vector{strided}).item<double>(), image.norm().item<double>(), 1e-12);
  EXPECT_EQ(grad_norm({}).item<double>(), 0);
}

TEST(GradNorm, ShowsNaN) {
  const at::Tensor bad = at::full({2}, std::nan(""));
  EXPECT_TRUE(std::isnan(grad_norm(std::vector{at::ones({3}), bad}).item<double>()));
}

}  // namespace
}  // namespace largo::optim
