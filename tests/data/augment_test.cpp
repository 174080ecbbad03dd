#include "trainer/data/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace largo::data {
namespace {

constexpr AugmentOptions kBoth = {.pad_crop = 2, .flip = true};

TEST(Placement, FollowsFromSeedAndKeyAlone) {
  const SampleKey key = {.epoch = 3, .index = 17};
  EXPECT_EQ(draw_placement(kBoth, 1, key), draw_placement(kBoth, 1, key));
  int same_seed = 0, same_epoch = 0, same_index = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    const Placement placement = draw_placement(kBoth, 1, {0, i});
    same_seed += placement == draw_placement(kBoth, 2, {0, i});
    same_epoch += placement == draw_placement(kBoth, 1, {1, i});
    same_index += placement == draw_placement(kBoth, 1, {0, i + 1000});
  }
  // One in 50 by chance.
  for (const int same : {same_seed, same_epoch, same_index}) EXPECT_NEAR(same, 20, 19);
}

TEST(Placement, AllPlacementsAreEquallyLikely) {
  std::map<std::pair<int64_t, int64_t>, int> crops;
  int flips = 0;
  for (int64_t i = 0; i < 25'000; ++i) {
    const Placement placement = draw_placement(kBoth, 1, {0, i});
    ++crops[{placement.down, placement.right}];
    flips += placement.flip;
  }
  EXPECT_EQ(crops.size(), 25u);
  for (const auto& [crop, count] : crops) {
    EXPECT_LE(std::abs(crop.first), 2);
    EXPECT_LE(std::abs(crop.second), 2);
    EXPECT_NEAR(count, 1000, 160);  // five standard deviations
  }
  EXPECT_NEAR(flips, 12'500, 400);
}

TEST(Placement, OneOptionLeavesTheOtherAsItWas) {
  std::set<bool> flips;
  for (int64_t i = 0; i < 100; ++i) {
    const SampleKey key = {.epoch = 0, .index = i};
    const Placement both = draw_placement(kBoth, 1, key);
    const Placement crop = draw_placement({.pad_crop = 2, .flip = false}, 1, key);
    const Placement flip = draw_placement({.pad_crop = 0, .flip = true}, 1, key);
    EXPECT_EQ(crop, (Placement{both.down, both.right, false}));
    EXPECT_EQ(flip, (Placement{0, 0, both.flip}));
    EXPECT_EQ(draw_placement({}, 1, key), Placement{});
    flips.insert(both.flip);
  }
  EXPECT_EQ(flips.size(), 2u);
}

// Changing it changes every augmented run that was ever made with a seed.
TEST(Placement, DrawsStayAsTheyAre) {
  EXPECT_EQ(draw_placement({.pad_crop = 4, .flip = true}, 1, {3, 5}), (Placement{3, 2, true}));
}

// Pads, crops and mirrors in three separate passes, as the words in augment.h say.
std::vector<uint8_t> naive(const std::vector<uint8_t>& from, const SampleShape& shape,
                           const Placement& placement, int64_t pad) {
  const auto [channels, height, width] = shape;
  const int64_t padded_width = width + 2 * pad;
  std::vector<uint8_t> padded((height + 2 * pad) * padded_width * channels, 0);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width * channels; ++x) {
      padded[(y + pad) * padded_width * channels + pad * channels + x] =
          from[y * width * channels + x];
    }
  }
  std::vector<uint8_t> cropped;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t row = y + pad + placement.down, column = x + pad + placement.right;
        cropped.push_back(padded[(row * padded_width + column) * channels + c]);
      }
    }
  }
  if (!placement.flip) return cropped;
  std::vector<uint8_t> mirrored;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = width - 1; x >= 0; --x) {
      for (int64_t c = 0; c < channels; ++c) {
        mirrored.push_back(cropped[(y * width + x) * channels + c]);
      }
    }
  }
  return mirrored;
}

TEST(Place, AgreesWithPaddingCroppingAndMirroring) {
  constexpr int64_t kPad = 6;  // more than the images are wide: some crops see only black
  for (const SampleShape& shape : {SampleShape{1, 5, 4}, SampleShape{3, 4, 5}}) {
    std::vector<uint8_t> pixels(shape.values());
    std::iota(pixels.begin(), pixels.end(), uint8_t{100});
    const std::vector<double> mean = {0.1, 0.2, 0.3}, deviation = {0.5, 0.25, 2};
    const auto channels = static_cast<size_t>(shape.channels);
    const PixelTable<double> table(std::span{mean}.first(channels),
                                   std::span{deviation}.first(channels));
    for (int64_t down = -kPad; down <= kPad; ++down) {
      for (int64_t right = -kPad; right <= kPad; ++right) {
        for (const bool flip : {false, true}) {
          const Placement placement = {down, right, flip};
          std::vector<double> expected;
          for (const uint8_t value : naive(pixels, shape, placement, kPad)) {
            expected.push_back(table.channel(expected.size() % channels)[value]);
          }
          std::vector<double> placed(pixels.size(), -1e9);
          place<double>(pixels, shape, placement, table, placed);
          ASSERT_EQ(placed, expected) << down << ' ' << right << ' ' << flip;
        }
      }
    }
  }
}

TEST(PixelTable, NormalizesByTheFormula) {
  const std::vector<double> mean = {0.2860, 0.5}, deviation = {0.3530, 0.25};
  const PixelTable<double> doubles(mean, deviation);
  const PixelTable<float> floats(mean, deviation);
  for (size_t c = 0; c < 2; ++c) {
    for (int value = 0; value < 256; ++value) {
      const double expected = (value / 255.0 - mean[c]) / deviation[c];
      EXPECT_EQ(doubles.channel(c)[value], expected);
      EXPECT_EQ(floats.channel(c)[value], static_cast<float>(expected));
    }
  }
}

}  // namespace
}  // namespace largo::data
