#include "trainer/nn/init.h"

#include <gtest/gtest.h>

#include <cmath>

#include "trainer/nn/memory_format.h"

namespace largo::nn {
namespace {

TEST(InitTest, SameNumbersInEveryDtypeAndMemoryFormat) {
  torch::Tensor wide = torch::empty({8, 4, 3, 3}, torch::kFloat64);
  torch::Tensor single = torch::empty({8, 4, 3, 3}, torch::kFloat32);
  torch::Tensor channels =
      torch::empty({8, 4, 3, 3}, torch::kFloat32, at::MemoryFormat::ChannelsLast);
  for (const torch::Tensor& tensor : {wide, single, channels}) {
    fill_normal(tensor, "conv1.weight", 7, 0.5);
  }
  EXPECT_TRUE(torch::equal(single, wide.to(torch::kFloat32)));
  EXPECT_TRUE(torch::equal(channels, single));
}

TEST(InitTest, KeyedBySeedAndName) {
  const auto draw = [](const char* name, uint64_t seed) {
    const torch::Tensor tensor = torch::empty({100}, torch::kFloat64);
    fill_uniform(tensor, name, seed, 2.0);
    return tensor;
  };
  EXPECT_TRUE(torch::equal(draw("a", 1), draw("a", 1)));
  EXPECT_FALSE(torch::equal(draw("a", 1), draw("b", 1)));
  EXPECT_FALSE(torch::equal(draw("a", 1), draw("a", 2)));
}

TEST(InitTest, Distributions) {
  const torch::Tensor normal = torch::empty({100000}, torch::kFloat64);
  fill_normal(normal, "n", 3, 0.25);
  EXPECT_NEAR(normal.mean().item<double>(), 0, 0.004);
  EXPECT_NEAR(normal.std().item<double>(), 0.25, 0.003);
  const torch::Tensor uniform = torch::empty({100000}, torch::kFloat64);
  fill_uniform(uniform, "u", 3, 2.0);
  EXPECT_NEAR(uniform.mean().item<double>(), 0, 0.02);
  EXPECT_NEAR(uniform.std().item<double>(), 2 / std::sqrt(3.0), 0.01);
  EXPECT_LE(uniform.abs().max().item<double>(), 2.0);
  EXPECT_GE(uniform.abs().max().item<double>(), 1.99);
}

TEST(InitTest, LargeParametersAreDrawnInOneStream) {
  const torch::Tensor whole = torch::empty({3, 700000}, torch::kFloat64);
  fill_normal(whole, "n", 3, 1.0);
  const torch::Tensor flat = torch::empty({3 * 700000}, torch::kFloat64);
  fill_normal(flat, "n", 3, 1.0);
  EXPECT_TRUE(torch::equal(whole.flatten(), flat));
}

TEST(InitTest, ConvolutionsAndClassifiers) {
  struct Net final : torch::nn::Module {
    torch::nn::Conv2d conv =
        register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 50, 3).bias(false)));
    torch::nn::Linear fc = register_module("fc", torch::nn::Linear(100, 50));
  };
  Net net;
  fill_convolutions(net, 3);
  EXPECT_NEAR(net.conv->weight.std().item<double>(), std::sqrt(2.0 / (50 * 9)), 0.002);
  const torch::Tensor expected = torch::empty({50, 8, 3, 3});
  fill_normal(expected, "conv.weight", 3, std::sqrt(2.0 / (50 * 9)));
  EXPECT_TRUE(torch::equal(net.conv->weight.detach(), expected));

  fill_classifier(*net.fc, "fc", 3);
  const torch::Tensor rows = torch::empty({50, 100});
  fill_normal(rows, "fc.weight", 3, 0.01);
  EXPECT_TRUE(torch::equal(net.fc->weight.detach(), rows));
  EXPECT_TRUE(net.fc->bias.eq(0).all().item<bool>());
}

TEST(InitTest, Fans) {
  EXPECT_EQ(fan_in(torch::empty({20, 3, 5, 4})), 60);
  EXPECT_EQ(fan_out(torch::empty({20, 3, 5, 4})), 400);
  EXPECT_EQ(fan_in(torch::empty({10, 30})), 30);
}

TEST(MemoryFormatTest, OneChannelGetsChannelsLastStridesToo) {
  const torch::Tensor images = torch::rand({4, 1, 6, 5});
  const torch::Tensor converted = channels_last(images);
  EXPECT_EQ(converted.strides(), (std::vector<int64_t>{30, 1, 5, 1}));
  EXPECT_TRUE(torch::equal(converted, images));
  EXPECT_TRUE(channels_last(converted).is_same(converted));
  EXPECT_EQ(channels_last(torch::empty({0, 3, 4, 4})).size(0), 0);
}

}  // namespace
}  // namespace largo::nn
