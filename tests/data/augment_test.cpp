#include "trainer/data/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
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
  for (const SampleShape& shape :
       {SampleShape{1, 5, 4}, SampleShape{3, 4, 5}, SampleShape{2, 3, 3}}) {
    std::vector<uint8_t> pixels(shape.values());
    std::iota(pixels.begin(), pixels.end(), uint8_t{100});
    for (int64_t down = -kPad; down <= kPad; ++down) {
      for (int64_t right = -kPad; right <= kPad; ++right) {
        for (const bool flip : {false, true}) {
          const Placement placement = {down, right, flip};
          std::vector<uint8_t> placed(pixels.size(), 7);
          place(pixels.data(), shape, placement, placed.data());
          ASSERT_EQ(placed, naive(pixels, shape, placement, kPad))
              << shape.channels << ": " << down << ' ' << right << ' ' << flip;
        }
      }
    }
  }
}

constexpr AugmentOptions kCutout = {.cutout = 4};

TEST(Cutout, IsEmptyUnlessAskedFor) {
  EXPECT_EQ(draw_cutout({.pad_crop = 4, .flip = true}, 1, {0, 0}, 8, 8), Rect{});
}

TEST(Cutout, FollowsFromSeedAndKeyAlone) {
  int same_seed = 0, same_epoch = 0, same_index = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    const Rect rect = draw_cutout(kCutout, 1, {0, i}, 8, 8);
    EXPECT_EQ(rect, draw_cutout({.pad_crop = 2, .flip = true, .cutout = 4}, 1, {0, i}, 8, 8));
    same_seed += rect == draw_cutout(kCutout, 2, {0, i}, 8, 8);
    same_epoch += rect == draw_cutout(kCutout, 1, {1, i}, 8, 8);
    same_index += rect == draw_cutout(kCutout, 1, {0, i + 1000}, 8, 8);
  }
  // One in 64 by chance.
  for (const int same : {same_seed, same_epoch, same_index}) EXPECT_NEAR(same, 16, 16);
}

// Whether an image's placement says where its hole is.
TEST(Cutout, DoesNotDependOnTheOtherDraws) {
  std::set<int64_t> tops;
  for (int64_t i = 0; i < 2000; ++i) {
    const Placement placement = draw_placement(kBoth, 1, {0, i});
    if (placement == Placement{0, 0, true}) {
      tops.insert(draw_cutout(kCutout, 1, {0, i}, 8, 8).top);
    }
  }
  EXPECT_EQ(tops.size(), 6u) << "0 … 5";
}

// A centre may be any of the pixels, so that the borders clip many squares.
TEST(Cutout, CentresAreUniform) {
  for (const int64_t side : {1, 4, 5, 8}) {
    std::map<std::pair<int64_t, int64_t>, int> rows, columns;
    for (int64_t i = 0; i < 8000; ++i) {
      const Rect rect = draw_cutout({.cutout = side}, 1, {0, i}, 8, 10);
      ++rows[{rect.top, rect.top + rect.height}];
      ++columns[{rect.left, rect.left + rect.width}];
    }
    const auto check = [&](const std::map<std::pair<int64_t, int64_t>, int>& counts,
                           int64_t length) {
      std::map<std::pair<int64_t, int64_t>, int> expected;
      for (int64_t centre = 0; centre < length; ++centre) {
        const int64_t begin = centre - side / 2;
        expected[{std::max<int64_t>(0, begin), std::min(length, begin + side)}] +=
            static_cast<int>(8000 / length);
      }
      ASSERT_EQ(counts.size(), expected.size());
      for (const auto& [range, count] : expected) {
        ASSERT_TRUE(counts.contains(range)) << range.first << " … " << range.second;
        EXPECT_NEAR(counts.at(range), count, 200) << range.first << " … " << range.second;
      }
    };
    check(rows, 8);
    check(columns, 10);
  }
}

TEST(Cutout, DrawsStayAsTheyAre) {
  EXPECT_EQ(draw_cutout(kCutout, 1, {3, 5}, 32, 32), (Rect{2, 22, 4, 4}));
}

TEST(Fill, ColoursTheRectangleOnly) {
  for (const int64_t channels : {1, 3}) {
    const SampleShape shape = {channels, 4, 5};
    const Rect rect = {1, 2, 2, 3};
    std::vector<uint8_t> pixels(shape.values(), 9);
    const std::vector<uint8_t> colour = {10, 20, 30};
    fill(pixels.data(), shape, rect, std::span(colour).first(static_cast<size_t>(channels)));
    for (int64_t i = 0; i < shape.values(); ++i) {
      const int64_t y = i / channels / 5, x = i / channels % 5;
      const bool inside = y >= 1 && y < 3 && x >= 2;
      EXPECT_EQ(pixels[i], inside ? 10 * (1 + i % channels) : 9) << y << ' ' << x;
    }
    const std::vector<uint8_t> before = pixels;
    fill(pixels.data(), shape, {}, colour);
    EXPECT_EQ(pixels, before);
  }
}

TEST(MeanColour, IsTheNearestPixelValue) {
  EXPECT_THAT(mean_colour(std::vector<double>{0, 0.4914, 0.5, 1}),
              testing::ElementsAre(0, 125, 128, 255));
}

}  // namespace
}  // namespace largo::data
