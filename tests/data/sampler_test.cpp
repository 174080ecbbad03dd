#include "trainer/data/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/fake_dataset.h"

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

const std::vector<int64_t> kUneven = {5, 1, 0, 17, 8, 8, 3, 30};  // 72 samples in 8 shards

int64_t shard_of(const std::vector<int64_t>& sizes, int64_t index) {
  int64_t shard = 0;
  for (; index >= sizes[shard]; ++shard) index -= sizes[shard];
  return shard;
}

ShuffleOptions blocks(int64_t shards, int64_t window) {
  return {.kind = ShuffleKind::kBlocks, .shards = shards, .window = window};
}

std::vector<int64_t> block_order(const std::vector<int64_t>& sizes, const ShuffleOptions& options,
                                 uint64_t seed = 1, int64_t epoch = 0) {
  const int64_t samples = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  std::vector<int64_t> order;
  for (const SampleKey& key : Sampler(seed, sizes, options).keys(epoch * samples, samples)) {
    EXPECT_EQ(key.epoch, epoch);
    order.push_back(key.index);
  }
  return order;
}

std::vector<int64_t> sorted(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

TEST(BlockSampler, EveryEpochIsAPermutation) {
  for (const auto& sizes : {kUneven, std::vector<int64_t>{72}, std::vector<int64_t>(72, 1)}) {
    std::vector<int64_t> all(72);
    std::iota(all.begin(), all.end(), int64_t{0});
    for (const int64_t shards : {1, 2, 3, 8, 100}) {
      for (const int64_t window : {int64_t{1}, int64_t{7}, int64_t{72}, INT64_MAX}) {
        const ShuffleOptions options = blocks(shards, window);
        EXPECT_EQ(sorted(block_order(sizes, options, 1, 3)), all) << shards << ' ' << window;
      }
    }
  }
}

TEST(BlockSampler, OrdersDifferByEpochAndSeed) {
  const ShuffleOptions options = blocks(2, 10);
  const auto order = block_order(kUneven, options);
  EXPECT_EQ(order, block_order(kUneven, options));
  EXPECT_NE(order, block_order(kUneven, options, 1, 1));
  EXPECT_NE(order, block_order(kUneven, options, 2, 0));
  // In a single shard only the windows are shuffled, each epoch anew.
  EXPECT_NE(block_order({72}, options), block_order({72}, options, 1, 1));
}

TEST(BlockSampler, SeekingAnywhereGivesTheSameKeys) {
  constexpr int64_t kLength = 72 * 4;
  const std::vector<SampleKey> whole = Sampler(5, kUneven, blocks(3, 10)).keys(0, kLength);
  Sampler sampler(5, kUneven, blocks(3, 10));
  for (int64_t i = 0; i < kLength; ++i) {
    const int64_t position = i * 37 % kLength;  // jumps over epochs all the time
    EXPECT_EQ(sampler.key(position), whole[position]) << position;
  }
}

// Window 1 shows the order of reading.
TEST(BlockSampler, ShardsAreReadSideBySideOneSampleOfEachInTurn) {
  for (const int64_t together : {1, 2, 3}) {
    const std::vector<int64_t> order = block_order(kUneven, blocks(together, 1), 7);
    std::vector<int64_t> shards;  // in the order of their first samples
    for (const int64_t index : order) {
      const int64_t shard = shard_of(kUneven, index);
      if (std::find(shards.begin(), shards.end(), shard) == shards.end()) shards.push_back(shard);
    }
    // The empty shard has a place in the order, too; the group that it is in is seen from the rest.
    for (size_t place = 0; place <= shards.size(); ++place) {
      std::vector<int64_t> with_empty = shards;
      with_empty.insert(with_empty.begin() + static_cast<int64_t>(place), 2);
      std::vector<int64_t> expected;
      for (size_t first = 0; first < with_empty.size(); first += together) {
        for (int64_t sample = 0; sample < 30; ++sample) {
          for (size_t i = first; i < std::min(first + together, with_empty.size()); ++i) {
            const int64_t shard = with_empty[i];
            if (sample >= kUneven[shard]) continue;
            expected.push_back(std::accumulate(kUneven.begin(), kUneven.begin() + shard, sample));
          }
        }
      }
      if (expected == order) return;
    }
    ADD_FAILURE() << together << ": no order of the shards explains "
                  << testing::PrintToString(order);
  }
}

TEST(BlockSampler, WindowsAreShuffledPartsOfTheOrderOfReading) {
  const std::vector<int64_t> reading = block_order(kUneven, blocks(3, 1), 4, 2);
  for (const int64_t window : {10, 30, 72}) {
    const std::vector<int64_t> order = block_order(kUneven, blocks(3, window), 4, 2);
    for (int64_t first = 0; first < 72; first += window) {
      const int64_t end = std::min<int64_t>(72, first + window);
      const std::vector<int64_t> seen(order.begin() + first, order.begin() + end);
      const std::vector<int64_t> read(reading.begin() + first, reading.begin() + end);
      EXPECT_EQ(sorted(seen), sorted(read)) << window << ' ' << first;
      if (end - first == window) {
        EXPECT_NE(seen, read) << window << ' ' << first;
      }
    }
  }
}

// What the option promises to storage: a window touches the shards of one group, or of two where
// it lies across their border.
TEST(BlockSampler, AWindowTouchesFewShards) {
  const std::vector<int64_t> sizes(40, 25);
  const std::vector<int64_t> order = block_order(sizes, blocks(4, 50));
  for (size_t first = 0; first < order.size(); first += 50) {
    std::set<int64_t> shards;
    for (size_t i = first; i < first + 50; ++i) shards.insert(order[i] / 25);
    EXPECT_EQ(shards.size(), 4u) << "windows of half a group";
  }
}

TEST(BlockSampler, AllShardsComeFirstEquallyOften) {
  std::vector<int> counts(4);
  Sampler sampler(1, {1, 1, 1, 1}, blocks(2, 1));
  for (int64_t epoch = 0; epoch < 4000; ++epoch) ++counts[sampler.key(4 * epoch).index];
  for (const int count : counts) EXPECT_NEAR(count, 1000, 140);
}

TEST(BlockSampler, ImpossibleRequestsAreBugs) {
  EXPECT_THROW(Sampler(1, {0, 0}, blocks(1, 1)), Error);
  EXPECT_THROW(Sampler(1, {4}, blocks(0, 1)), Error);
  EXPECT_THROW(Sampler(1, {4}, blocks(1, 0)), Error);
}

// Changing it changes every run that was ever made with a seed.
TEST(BlockSampler, OrdersStayAsTheyAre) {
  EXPECT_THAT(block_order({4, 3, 3}, blocks(2, 4)),
              testing::ElementsAre(5, 1, 0, 4, 6, 7, 2, 3, 8, 9));
}

TEST(MakeSampler, TakesTheShardsFromTheDataSet) {
  FakeDataset dataset(72);
  dataset.shard_sizes = kUneven;
  std::vector<int64_t> present = kUneven;  // the data set does not tell of a shard without samples
  std::erase(present, 0);
  EXPECT_EQ(make_sampler(blocks(3, 10), 9, dataset).keys(0, 144),
            Sampler(9, present, blocks(3, 10)).keys(0, 144));
  EXPECT_EQ(make_sampler({}, 9, dataset).keys(0, 144), Sampler(9, 72).keys(0, 144));
}

}  // namespace
}  // namespace largo::data
