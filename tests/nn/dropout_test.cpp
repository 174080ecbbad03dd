#include "trainer/nn/dropout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "comm/base/error.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/base/keyed_random.h"

namespace largo::nn {
namespace {

torch::Tensor apply(const Dropout& dropout, const torch::Tensor& x,
                    const std::vector<SampleKey>& keys) {
  StepContext context;
  context.training = true;
  context.keys = keys;
  return dropout.forward(x, context);
}

const std::vector<SampleKey> kSix = {{0, 7}, {0, 3}, {0, 1000000007}, {1, 7}, {0, 0}, {2, 5}};

TEST(DropoutTest, TheSameMaskHoweverTheBatchIsSplit) {
  const Dropout dropout(0.3, 1, 0);
  const torch::Tensor x = random_tensor({6, 50}, 1);
  const torch::Tensor whole = apply(dropout, x, kSix);
  const auto part = [&](int64_t begin, int64_t end) {
    return apply(dropout, x.slice(0, begin, end),
                 {kSix.begin() + static_cast<int>(begin), kSix.begin() + static_cast<int>(end)});
  };
  EXPECT_TRUE(torch::equal(torch::cat({part(0, 2), part(2, 2), part(2, 6)}), whole));

  const std::vector<int64_t> order = {4, 0, 5, 2, 1, 3};
  std::vector<SampleKey> keys;
  for (const int64_t i : order) keys.push_back(kSix[static_cast<size_t>(i)]);
  const torch::Tensor index = torch::tensor(order);
  EXPECT_TRUE(
      torch::equal(apply(dropout, x.index_select(0, index), keys), whole.index_select(0, index)));
}

TEST(DropoutTest, SeedLayerEpochAndIndexChangeTheMask) {
  const torch::Tensor ones = torch::ones({1, 100});
  const auto mask = [&](uint64_t seed, uint64_t layer, SampleKey key) {
    return apply(Dropout(0.5, seed, layer), ones, {key});
  };
  const torch::Tensor one = mask(1, 0, {0, 7});
  EXPECT_TRUE(torch::equal(mask(1, 0, {0, 7}), one));
  EXPECT_FALSE(torch::equal(mask(2, 0, {0, 7}), one));
  EXPECT_FALSE(torch::equal(mask(1, 1, {0, 7}), one));
  EXPECT_FALSE(torch::equal(mask(1, 0, {1, 7}), one));
  EXPECT_FALSE(torch::equal(mask(1, 0, {0, 8}), one));
}

TEST(DropoutTest, ValuesInRowMajorOrderOfTheSamplesStream) {
  const Dropout dropout(0.25, 9, 0);
  const torch::Tensor ones = torch::ones({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  const torch::Tensor y = apply(dropout, ones, {{1, 2}, {3, 4}}).contiguous();
  const float* value = y.data_ptr<float>();
  for (const SampleKey& key : {SampleKey{1, 2}, SampleKey{3, 4}}) {
    KeyedRandom random(9, Purpose::kDropout, static_cast<uint32_t>(key.epoch),
                       static_cast<uint64_t>(key.index));
    for (int64_t i = 0; i < 60; ++i) {
      EXPECT_EQ(*value++, random.next_u32() < 0x40000000u ? 0.0F : static_cast<float>(1 / 0.75));
    }
  }
}

TEST(DropoutTest, KeepsTheMeanAndTheStatedShare) {
  std::vector<SampleKey> keys;
  for (int64_t i = 0; i < 500; ++i) keys.push_back({i % 3, i});
  for (const double p : {0.1, 0.5, 0.9}) {
    const torch::Tensor y = apply(Dropout(p, 3, 1), torch::ones({500, 200}, torch::kFloat64), keys);
    const double n = 100000;
    EXPECT_NEAR(y.eq(0).to(torch::kFloat64).mean().item<double>(), p,
                4 * std::sqrt(p * (1 - p) / n));
    EXPECT_NEAR(y.mean().item<double>(), 1, 4 * std::sqrt(p / (1 - p) / n));
    EXPECT_NEAR(y.var().item<double>() / (p / (1 - p)), 1, 0.05);
    // Neither samples nor values share numbers: the means of rows and columns scatter as they
    // should.
    EXPECT_NEAR(y.mean(0).var().item<double>() / (p / (1 - p) / 500), 1, 0.5);
    EXPECT_NEAR(y.mean(1).var().item<double>() / (p / (1 - p) / 200), 1, 0.4);
  }
}

TEST(DropoutTest, BackwardHasTheForwardsMask) {
  const Dropout dropout(0.5, 1, 0);
  const torch::Tensor x = random_tensor({6, 20}, 1).requires_grad_();
  const torch::Tensor y = apply(dropout, x, kSix);
  y.sum().backward();
  EXPECT_TRUE(torch::equal(x.grad() * x.detach(), y.detach()));
}

TEST(DropoutTest, NumberOfThreadsDoesNotMatter) {
  const Dropout dropout(0.5, 1, 0);
  const torch::Tensor ones = torch::ones({6, 300});
  at::set_num_threads(1);
  const torch::Tensor single = apply(dropout, ones, kSix);
  at::set_num_threads(3);
  EXPECT_TRUE(torch::equal(apply(dropout, ones, kSix), single));
  at::set_num_threads(1);
}

TEST(DropoutTest, IdentityInEvaluationAndWithoutProbabilityOrSamples) {
  const torch::Tensor x = random_tensor({2, 20}, 1);
  EXPECT_TRUE(torch::equal(Dropout(0.5, 1, 0).forward(x, {}), x));
  StepContext training;
  training.training = true;
  EXPECT_TRUE(torch::equal(Dropout(0, 1, 0).forward(x, training), x));
  const torch::Tensor none = torch::empty({0, 20}).requires_grad_();
  const torch::Tensor y = Dropout(0.5, 1, 0).forward(none, training);
  EXPECT_EQ(y.sizes(), none.sizes());
  EXPECT_TRUE(y.requires_grad());
}

TEST(DropoutTest, RefusesWrongCountsOfKeysAndProbabilities) {
  const Dropout dropout(0.5, 1, 0);
  EXPECT_THROW(apply(dropout, torch::ones({5, 4}), kSix), Error);
  EXPECT_THROW(apply(dropout, torch::ones({6, 4}), {}), Error);
  EXPECT_THROW(Dropout(1.0, 1, 0), Error);
  EXPECT_THROW(Dropout(-0.1, 1, 0), Error);
}

}  // namespace
}  // namespace largo::nn
