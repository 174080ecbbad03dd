#include "trainer/data/array_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "comm/base/error.h"
#include "trainer/data/image_rect.h"

namespace largo::data {
namespace {

using testing::ElementsAre;

std::vector<uint8_t> pixels_of(const Image& image) {
  const auto values = image.height * image.width * image.channels;
  return {image.pixels.begin(), image.pixels.begin() + values};
}

// Two images of 3 x 4 pixels and 2 channels, with values 0 … 47.
ArrayDataset make_set() {
  std::vector<uint8_t> pixels(48);
  std::iota(pixels.begin(), pixels.end(), uint8_t{0});
  return {{2, 3, 4}, 7, std::move(pixels), {5, 6}};
}

TEST(ArrayDataset, HasWhatItWasMadeOf) {
  const ArrayDataset set = make_set();
  EXPECT_EQ(set.size(), 2);
  EXPECT_EQ(set.classes(), 7);
  EXPECT_EQ(set.shape(), (SampleShape{2, 3, 4}));
  EXPECT_EQ(set.label(1), 6);
  EXPECT_EQ(set.stored_bytes(1), 0);
  EXPECT_THROW(ArrayDataset({2, 3, 4}, 7, std::vector<uint8_t>(47), {5, 6}), Error);
}

TEST(ArrayDataset, ReadsWholeImages) {
  Image image;
  make_set().read(1, {.cut = Cut::kWhole, .height = 3, .width = 4}, image);
  EXPECT_EQ(image.height, 3);
  EXPECT_EQ(image.width, 4);
  EXPECT_EQ(image.channels, 2);
  std::vector<uint8_t> expected(24);
  std::iota(expected.begin(), expected.end(), uint8_t{24});
  EXPECT_EQ(pixels_of(image), expected);
  EXPECT_THROW(make_set().read(1, {.cut = Cut::kWhole, .height = 3, .width = 3}, image), Error);
}

TEST(ArrayDataset, ReadsTheRectangleOfTheFraming) {
  Image image;
  make_set().read(0, {.cut = Cut::kCenter, .height = 1, .width = 2, .share = 0.5}, image);
  EXPECT_EQ(image.height, 1);
  EXPECT_EQ(image.width, 2);
  EXPECT_THAT(pixels_of(image), ElementsAre(10, 11, 12, 13));
  const Framing framing{.cut = Cut::kRandom, .height = 1, .width = 1, .seed = 1, .key = {0, 5}};
  make_set().read(0, framing, image);
  const Rect rect = choose_rect(framing, 3, 4);
  EXPECT_EQ(image.height, rect.height);
  EXPECT_EQ(image.width, rect.width);
  EXPECT_EQ(image.pixels[0], 2 * (4 * rect.top + rect.left));
}

TEST(ImageRect, CutsOutInPlaceWhatCopyRectCopies) {
  Image image;
  image.resize(5, 6, 3);
  std::iota(image.pixels.begin(), image.pixels.end(), uint8_t{0});
  for (int64_t top = 0; top < 5; ++top) {
    for (int64_t left = 0; left < 6; ++left) {
      for (int64_t height = 1; height <= 5 - top; ++height) {
        for (int64_t width = 1; width <= 6 - left; ++width) {
          const Rect rect = {top, left, height, width};
          Image copy, cut = image;
          copy_rect(image.pixels.data(), 6, 3, rect, copy);
          cut_out(rect, cut);
          ASSERT_EQ(pixels_of(cut), pixels_of(copy));
          ASSERT_EQ(cut.width, width);
          ASSERT_EQ(copy.pixels.back(), (top + height - 1) * 18 + (left + width - 1) * 3 + 2);
        }
      }
    }
  }
}

}  // namespace
}  // namespace largo::data
