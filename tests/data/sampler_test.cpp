#include "trainer/data/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include "comm/base/error.h"

namespace largo::data {
namespace {

std::vector<int64_t> epoch_order(uint64_t seed, int64_t samples, int64_t epoch) {
  std::vector<int64_t> order;
  for (const SampleKey& key : Sampler(seed, samples).keys(epoch * samples, samples)) {
    EXPECT_EQ(key.epoch, epoch);
    order.push_back(key.index);
  }
  return order;
}

TEST(Sampler, EveryEpochIsAPermutation) {
  for (const int64_t samples : {1, 2, 3, 100, 1000}) {
    std::vector<int64_t> all(samples);
    std::iota(all.begin(), all.end(), int64_t{0});
    for (const int64_t epoch : {0, 1, 77}) {
      std::vector<int64_t> order = epoch_order(1, samples, epoch);
      std::sort(order.begin(), order.end());
      EXPECT_EQ(order, all) << samples << " samples, epoch " << epoch;
    }
  }
}

TEST(Sampler, PermutationsDifferByEpochAndSeed) {
  const auto order = epoch_order(1, 100, 0);
  EXPECT_EQ(order, epoch_order(1, 100, 0));
  EXPECT_NE(order, epoch_order(1, 100, 1));
  EXPECT_NE(order, epoch_order(2, 100, 0));
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
}

// Chi squared over the 24 orders of four samples has mean 23 and standard deviation 6.8.
TEST(Sampler, AllOrdersAreEquallyLikely) {
  constexpr int64_t kEpochs = 24'000;
  std::array<int, 256> counts{};
  Sampler sampler(1, 4);
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const auto keys = sampler.keys(4 * epoch, 4);
    ++counts[keys[0].index << 6 | keys[1].index << 4 | keys[2].index << 2 | keys[3].index];
  }
  int seen = 0;
  double chi_squared = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    ++seen;
    chi_squared += (count - 1000.0) * (count - 1000.0) / 1000;
  }
  EXPECT_EQ(seen, 24);
  EXPECT_LT(chi_squared, 60);
}

TEST(Sampler, TheStreamIsTheSameAtAnySplit) {
  constexpr int64_t kSamples = 13, kLength = 50;  // slices lie across the ends of epochs
  const std::vector<SampleKey> whole = Sampler(5, kSamples).keys(0, kLength);
  for (const int64_t slice : {1, 3, 7, 20, 50}) {
    Sampler sampler(5, kSamples);
    std::vector<SampleKey> joined;
    for (int64_t first = 0; first < kLength; first += slice) {
      const auto keys = sampler.keys(first, std::min(slice, kLength - first));
      joined.insert(joined.end(), keys.begin(), keys.end());
    }
    EXPECT_EQ(joined, whole) << "slices of " << slice;
  }
}

TEST(Sampler, SeekingAnywhereGivesTheSameKeys) {
  constexpr int64_t kSamples = 13, kLength = 13 * 5;
  const std::vector<SampleKey> whole = Sampler(5, kSamples).keys(0, kLength);
  Sampler sampler(5, kSamples);
  for (int64_t i = 0; i < kLength; ++i) {
    const int64_t position = i * 31 % kLength;  // jumps over epochs all the time
    EXPECT_EQ(sampler.key(position), whole[position]) << position;
  }
}

TEST(Sampler, ImpossibleRequestsAreBugs) {
  EXPECT_THROW(Sampler(1, 0), Error);
  EXPECT_THROW(Sampler(1, 5).key(-1), Error);
  EXPECT_TRUE(Sampler(1, 5).keys(3, 0).empty());
}

// Changing it changes every run that was ever made with a seed.
TEST(Sampler, OrdersStayAsTheyAre) {
  EXPECT_THAT(epoch_order(1, 10, 0), testing::ElementsAre(8, 3, 9, 0, 4, 5, 1, 2, 6, 7));
  EXPECT_THAT(epoch_order(1, 10, 1), testing::ElementsAre(8, 5, 7, 4, 2, 1, 0, 3, 9, 6));
}

}  // namespace
}  // namespace largo::data
