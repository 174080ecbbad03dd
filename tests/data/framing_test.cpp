#include "trainer/data/framing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace largo::data {
namespace {

Framing central(int64_t height, int64_t width, double share) {
  return {.cut = Cut::kCenter, .height = height, .width = width, .share = share};
}

Framing random(uint64_t seed, int64_t epoch, int64_t index) {
  return {.cut = Cut::kRandom, .height = 224, .width = 224, .seed = seed, .key = {epoch, index}};
}

TEST(ChooseRect, WholeIsTheImage) {
  EXPECT_EQ(choose_rect({.cut = Cut::kWhole, .height = 5, .width = 5}, 7, 9), (Rect{0, 0, 7, 9}));
}

TEST(ChooseRect, CenterHasTheSamplesProportions) {
  EXPECT_EQ(choose_rect(central(224, 224, 1), 375, 500), (Rect{0, 62, 375, 375}));
  EXPECT_EQ(choose_rect(central(224, 224, 1), 500, 375), (Rect{62, 0, 375, 375}));
  EXPECT_EQ(choose_rect(central(10, 30, 1), 100, 150), (Rect{25, 0, 50, 150}));
  EXPECT_EQ(choose_rect(central(32, 32, 1), 32, 32), (Rect{0, 0, 32, 32}));
}

TEST(ChooseRect, CenterTakesTheShareOfBothSides) {
  EXPECT_EQ(choose_rect(central(224, 224, 0.875), 256, 256), (Rect{16, 16, 224, 224}));
  // 328.125 pixels
  EXPECT_EQ(choose_rect(central(224, 224, 0.875), 375, 500), (Rect{23, 86, 328, 328}));
}

TEST(ChooseRect, CenterIsNeverEmpty) {
  EXPECT_EQ(choose_rect(central(224, 224, 0.875), 1, 1000), (Rect{0, 499, 1, 1}));
  EXPECT_EQ(choose_rect(central(1, 1000, 0.1), 7, 9), (Rect{3, 4, 1, 1}));
}

TEST(ChooseRect, RandomFollowsFromSeedKeyAndSizeAlone) {
  EXPECT_EQ(choose_rect(random(1, 2, 3), 375, 500), choose_rect(random(1, 2, 3), 375, 500));
  int equal = 0;
  for (int64_t i = 0; i < 100; ++i) {
    const Rect rect = choose_rect(random(1, 2, i), 375, 500);
    equal += rect == choose_rect(random(2, 2, i), 375, 500);
    equal += rect == choose_rect(random(1, 3, i), 375, 500);
    equal += rect == choose_rect(random(1, 2, i + 100), 375, 500);
    Framing other = random(1, 2, i);
    other.height = 100;
    other.share = 0.5;
    EXPECT_EQ(rect, choose_rect(other, 375, 500));
  }
  EXPECT_LE(equal, 1);
}

// Changing it changes every run that was ever made with random crops.
TEST(ChooseRect, RandomDrawsStayAsTheyAre) {
  EXPECT_EQ(choose_rect(random(1, 3, 5), 375, 500), (Rect{20, 73, 333, 314}));
}

// Means over 40,000 draws of torchvision 0.26's RandomResizedCrop.get_params(), whose own error is
// below a third of the tolerance.
TEST(ChooseRect, RandomIsDistributedAsInTorchvision) {
  struct Case {
    int64_t image_height, image_width;
    double height, width, top, left, spread, centred;
  };
  for (const Case& c : {Case{375, 500, 270.29, 282.27, 52.29, 108.72, 0.1640, 0},
                        Case{100, 300, 78.35, 83.00, 10.83, 108.26, 0.1672, 0.0368},
                        Case{64, 64, 43.13, 43.14, 10.42, 10.43, 0.1602, 0}}) {
    double height = 0, width = 0, top = 0, left = 0, ratio = 0, squares = 0, centred = 0;
    constexpr int kDraws = 40'000;
    for (int64_t i = 0; i < kDraws; ++i) {
      const Rect rect = choose_rect(random(7, 0, i), c.image_height, c.image_width);
      ASSERT_TRUE(rect.top >= 0 && rect.left >= 0 && rect.height > 0 && rect.width > 0);
      ASSERT_LE(rect.top + rect.height, c.image_height);
      ASSERT_LE(rect.left + rect.width, c.image_width);
      height += static_cast<double>(rect.height) / kDraws;
      width += static_cast<double>(rect.width) / kDraws;
      top += static_cast<double>(rect.top) / kDraws;
      left += static_cast<double>(rect.left) / kDraws;
      const double logarithm =
          std::log(static_cast<double>(rect.width) / static_cast<double>(rect.height));
      ratio += logarithm / kDraws;
      squares += logarithm * logarithm / kDraws;
      const bool widest = rect.height == c.image_height && rect.width == (4 * rect.height + 1) / 3;
      centred += widest ? 1.0 / kDraws : 0;
    }
    const double tolerance = 0.01;
    EXPECT_NEAR(height / c.height, 1, tolerance);
    EXPECT_NEAR(width / c.width, 1, tolerance);
    EXPECT_NEAR(top / c.top, 1, 3 * tolerance);
    EXPECT_NEAR(left / c.left, 1, 2 * tolerance);
    EXPECT_NEAR(std::sqrt(squares - ratio * ratio) / c.spread, 1, 2 * tolerance);
    EXPECT_NEAR(centred, c.centred, 0.004);  // after ten attempts
  }
}

TEST(ChooseRect, RandomFallsBackToTheCentre) {
  EXPECT_EQ(choose_rect(random(1, 0, 0), 9, 3000), (Rect{0, 1494, 9, 12}));
  EXPECT_EQ(choose_rect(random(1, 0, 0), 3000, 9), (Rect{1494, 0, 12, 9}));
  for (int64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(choose_rect(random(1, 0, i), 1, 1), (Rect{0, 0, 1, 1}));
  }
}

}  // namespace
}  // namespace largo::data
