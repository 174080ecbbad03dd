#include "trainer/base/keyed_random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

namespace largo {
namespace {

using Block = std::array<uint32_t, 4>;

// The known answers that come with Random123, the authors' own implementation.
TEST(Philox, KnownAnswers) {
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::vector<uint32_t> first_numbers(KeyedRandom random, int count = 9) {
  std::vector<uint32_t> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(random.next_u32());
  return numbers;
}

TEST(KeyedRandom, RepeatsForTheSameKey) {
  EXPECT_EQ(first_numbers({7, Purpose::kAugment, 3, 11}),
            first_numbers({7, Purpose::kAugment, 3, 11}));
}

TEST(KeyedRandom, AnyPartOfTheKeyChangesTheStream) {
  const uint64_t far = uint64_t{1} << 40;  // the upper half of b counts too
  const std::set<std::vector<uint32_t>> streams = {
      first_numbers({7, Purpose::kAugment, 3, 11}),
      first_numbers({8, Purpose::kAugment, 3, 11}),
      first_numbers({7, Purpose::kShuffle, 3, 11}),
      first_numbers({7, Purpose::kAugment, 4, 11}),
      first_numbers({7, Purpose::kAugment, 3, 12}),
      first_numbers({7, Purpose::kAugment, 3, far}),
      first_numbers({7, Purpose::kAugment, 11, 3}),
      first_numbers({7 + far, Purpose::kAugment, 3, 11})};
  EXPECT_EQ(streams.size(), 8u);
}

TEST(KeyedRandom, ANumberSpansTwoWords) {
  KeyedRandom words(1, Purpose::kInit, 2, 3), numbers(1, Purpose::kInit, 2, 3);
  for (int i = 0; i < 5; ++i) {
    const uint64_t high = words.next_u32();
    EXPECT_EQ(numbers.next_u64(), high << 32 | words.next_u32());
  }
}

// Chi squared of 10 cells has mean 9 and standard deviation 4.2; 35 is passed once in 20,000.
TEST(KeyedRandom, BelowIsEven) {
  constexpr int kDraws = 100'000;
  KeyedRandom random(1, Purpose::kShuffle, 0, 0);
  std::array<int, 10> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts.at(random.below(10));
  double chi_squared = 0;
  for (const int count : counts) {
    chi_squared += std::pow(count - kDraws / 10.0, 2) / (kDraws / 10.0);
  }
  EXPECT_LT(chi_squared, 35);
  EXPECT_GT(chi_squared, 0.5);
}

// Taking the remainder of 64 bits by 3 · 2^62 without drawing again would favour the lowest third
// two to one.
TEST(KeyedRandom, BelowIsEvenForBoundsNearTheWholeRange) {
  const uint64_t third = uint64_t{1} << 62;
  KeyedRandom random(1, Purpose::kShuffle, 0, 0);
  std::array<int, 3> counts{};
  for (int i = 0; i < 30'000; ++i) ++counts.at(random.below(3 * third) / third);
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 400);
}

TEST(KeyedRandom, BelowOneIsZero) {
  KeyedRandom random(1, Purpose::kShuffle, 0, 0);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(random.below(1), 0u);
}

TEST(KeyedRandom, UniformFillsTheUnitInterval) {
  constexpr int kDraws = 100'000;
  KeyedRandom random(1, Purpose::kAugment, 0, 0);
  double sum = 0, squares = 0, low = 1, high = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform();
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.005);
  EXPECT_LT(low, 1e-3);
  EXPECT_GT(high, 1 - 1e-3);
}

TEST(KeyedRandom, NormalHasTheMomentsOfANormal) {
  constexpr int kDraws = 200'000;
  KeyedRandom random(1, Purpose::kInit, 0, 0);
  std::array<double, 5> moment{};
  int within_one = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = random.normal();
    ASSERT_TRUE(std::isfinite(z));
    for (int power = 1; power <= 4; ++power) moment.at(power) += std::pow(z, power) / kDraws;
    within_one += std::abs(z) < 1;
  }
  EXPECT_NEAR(moment[1], 0, 0.01);
  EXPECT_NEAR(moment[2], 1, 0.02);
  EXPECT_NEAR(moment[3], 0, 0.05);
  EXPECT_NEAR(moment[4], 3, 0.12);
  EXPECT_NEAR(within_one / double{kDraws}, 0.6827, 0.005);
}

TEST(KeyedRandom, NeighbouringStreamsAreUncorrelated) {
  constexpr int kStreams = 100'000;
  double products = 0;
  for (int b = 0; b < kStreams; ++b) {
    const double here = KeyedRandom(1, Purpose::kAugment, 0, b).uniform() - 0.5;
    const double next = KeyedRandom(1, Purpose::kAugment, 0, b + 1).uniform() - 0.5;
    products += here * next;
  }
  EXPECT_NEAR(products / kStreams * 12, 0, 0.015);  // the correlation: 12 is 1 / variance
}

// Changing any of these changes every run that was ever made with a seed.
TEST(KeyedRandom, StreamsStayAsTheyAre) {
  EXPECT_THAT(first_numbers({1, Purpose::kShuffle, 0, 0}, 4),
              testing::ElementsAre(1938819889u, 2678533043u, 1520531390u, 3324221881u));
}

}  // namespace
}  // namespace largo
