#include "trainer/optim/weight_average.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

namespace largo::optim {
namespace {

WeightAverage::NamedTensors some_tensors() {
  return {{"conv.weight", torch::arange(36, torch::kDouble)
                              .view({4, 1, 3, 3})
                              .contiguous(at::MemoryFormat::ChannelsLast)},
          {"bn.running_mean", torch::ones({4}, torch::kDouble)},
          {"bn.num_batches_tracked", torch::zeros({}, torch::kLong)}};
}

TEST(WeightAverageTest, IsTheRecursion) {
  const auto values = some_tensors();
  WeightAverage average(0.9, 64, 64, values);
  EXPECT_DOUBLE_EQ(average.decay(), 0.9);
  torch::Tensor want = values[0].second.clone();
  for (int step = 1; step <= 5; ++step) {
    values[0].second.add_(step);
    values[1].second.mul_(2);
    average.update();
    want = 0.9 * want + 0.1 * values[0].second;
  }
  const auto state = average.state();
  ASSERT_EQ(state.size(), 2u);  // the counter is no weight
  EXPECT_EQ(state[0].first, "conv.weight.ema");
  EXPECT_EQ(state[1].first, "bn.running_mean.ema");
  EXPECT_LE((state[0].second - want).norm().item<double>(), 1e-13 * want.norm().item<double>());
}

// The average looks back over the same samples at any batch: k steps of the small batch, during
// which the weights stand still, are one of the large.
TEST(WeightAverageTest, DecayToThePowerOfTheBatchFactor) {
  auto values = some_tensors();
  auto same = some_tensors();
  WeightAverage large(0.99, 32, 128, values);
  WeightAverage small(0.99, 32, 32, same);
  EXPECT_DOUBLE_EQ(large.decay(), std::pow(0.99, 4));
  values[0].second.add_(1);
  same[0].second.add_(1);
  large.update();
  for (int i = 0; i < 4; ++i) small.update();
  const torch::Tensor a = large.state()[0].second, b = small.state()[0].second;
  EXPECT_LE((a - b).norm().item<double>(), 1e-14 * b.norm().item<double>());
  EXPECT_DOUBLE_EQ(WeightAverage(0.99, 128, 32, some_tensors()).decay(), std::pow(0.99, 0.25));
}

TEST(WeightAverageTest, SwapExchangesTheBits) {
  auto values = some_tensors();
  WeightAverage average(0.5, 1, 1, values);
  values[0].second.sqrt_();
  average.update();
  const torch::Tensor value = values[0].second.clone();
  const torch::Tensor averaged = average.state()[0].second.clone();
  ASSERT_FALSE(torch::equal(value, averaged));
  average.swap();
  EXPECT_TRUE(torch::equal(values[0].second, averaged));
  EXPECT_TRUE(values[0].second.is_contiguous(at::MemoryFormat::ChannelsLast));
  average.swap();
  EXPECT_TRUE(torch::equal(values[0].second, value));
  EXPECT_TRUE(torch::equal(average.state()[0].second, averaged));
}

// What a checkpoint writes into the state is what goes on.
TEST(WeightAverageTest, StateSetsTheAverage) {
  auto values = some_tensors();
  WeightAverage average(0.5, 1, 1, values);
  average.state()[1].second.fill_(7);
  average.swap();
  EXPECT_EQ(values[1].second[0].item<double>(), 7);
}

}  // namespace
}  // namespace largo::optim
