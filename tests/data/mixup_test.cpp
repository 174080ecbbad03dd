#include "trainer/data/mixup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace largo::data {
namespace {

constexpr int64_t kDraws = 40'000;

TEST(DrawMix, NoneWithoutMixup) {
  for (int64_t step = 0; step < 10; ++step) EXPECT_EQ(draw_mix(0, 1, step), 1);
}

TEST(DrawMix, FollowsFromSeedAndStepAlone) {
  EXPECT_EQ(draw_mix(0.2, 1, 7), draw_mix(0.2, 1, 7));
  EXPECT_NE(draw_mix(0.2, 1, 7), draw_mix(0.2, 2, 7));
  EXPECT_NE(draw_mix(0.2, 1, 7), draw_mix(0.2, 1, 8));
}

TEST(DrawMix, OwnLabelsDominate) {
  for (const double alpha : {1e-3, 0.2, 1.0, 5.0, 1e9}) {
    for (int64_t step = 0; step < 1000; ++step) {
      const double mix = draw_mix(alpha, 1, step);
      ASSERT_GE(mix, 0.5) << alpha;
      ASSERT_LE(mix, 1) << alpha;
    }
  }
}

// Beta(a, a) has variance 1 / (4 (2 a + 1)) and fourth central moment 3 / (16 (2 a + 1) (2 a + 3));
// both are the same for s and max(s, 1 - s), measured from one half.
TEST(DrawMix, HasTheMomentsOfBeta) {
  for (const double alpha : {0.1, 0.2, 0.4, 0.9, 1.0, 1.5, 4.0, 50.0, 1e4}) {
    double second = 0, fourth = 0;
    for (int64_t step = 0; step < kDraws; ++step) {
      const double from_half = draw_mix(alpha, 3, step) - 0.5;
      second += from_half * from_half / kDraws;
      fourth += std::pow(from_half, 4) / kDraws;
    }
    const double variance = 1 / (4 * (2 * alpha + 1));
    const double moment = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3));
    const double deviation = std::sqrt((moment - variance * variance) / kDraws);
    EXPECT_NEAR(second, variance, 4.5 * deviation) << alpha;
    EXPECT_NEAR(fourth, moment, 0.05 * moment) << alpha;
  }
}

TEST(DrawMix, Beta1IsUniform) {
  std::vector<int> tenths(10);
  for (int64_t step = 0; step < kDraws; ++step) {
    ++tenths[std::min(9, static_cast<int>(20 * (draw_mix(1, 5, step) - 0.5)))];
  }
  for (const int count : tenths) EXPECT_NEAR(count, kDraws / 10, 300);
}

TEST(DrawMix, ExtremeAlphasAreSafe) {
  for (int64_t step = 0; step < 100; ++step) {
    for (const double tiny : {std::numeric_limits<double>::denorm_min(), 1e-300, 1e-99, 1e-8}) {
      EXPECT_EQ(draw_mix(tiny, 1, step), 1) << tiny;
    }
    for (const double huge : {1e16, 1e100, 1e308}) {
      EXPECT_NEAR(draw_mix(huge, 1, step), 0.5, 1e-6) << huge;
    }
  }
}

// Changing it changes every run with mixup that was ever made with a seed.
TEST(DrawMix, DrawsStayAsTheyAre) {
  EXPECT_NEAR(draw_mix(0.2, 1, 0), 0.95131257751030651, 1e-9);
  EXPECT_NEAR(draw_mix(1.5, 1, 1), 0.76673600443951329, 1e-9);
}

TEST(MixWithNext, EveryImageMeetsTheOneAfterIt) {
  const std::vector<float> before = {1, 2, 10, 20, 100, 200, -1, -2};
  std::vector<float> images = before;
  mix_with_next(images.data(), 3, 2, 0.75);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(images[i], 0.75f * before[i] + 0.25f * before[i + 2]);
  EXPECT_EQ(images[6], -1);
  EXPECT_EQ(images[7], -2);
  std::vector<double> one = {3};
  mix_with_next(one.data(), 0, 1, 0.6);
  EXPECT_EQ(one[0], 3);
}

}  // namespace
}  // namespace largo::data
