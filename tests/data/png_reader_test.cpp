#include "trainer/data/png_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/data/decode_test_util.h"

namespace largo::data {
namespace {

using testing::HasSubstr;

struct PngCase {
  PngStyle style;
  int64_t channels;
};

std::vector<PngCase> png_cases() {
  std::vector<PngCase> cases;
  for (const bool interlaced : {false, true}) {
    for (const bool transparent : {false, true}) {
      for (const int depth : {1, 2, 4, 8, 16}) {
        cases.push_back({{PngColour::kGrey, depth, interlaced, transparent}, 1});
        if (depth < 16) cases.push_back({{PngColour::kPalette, depth, interlaced, transparent}, 1});
        if (depth >= 8) cases.push_back({{PngColour::kRgb, depth, interlaced, transparent}, 3});
      }
    }
    for (const int depth : {8, 16}) {
      cases.push_back({{PngColour::kGreyAlpha, depth, interlaced}, 2});
      cases.push_back({{PngColour::kRgba, depth, interlaced}, 4});
    }
  }
  return cases;
}

// What the samples of a PNG file stand for, worked out from png_bytes()'s own words.
Image expected_rgb(const Image& samples, const PngStyle& style) {
  Image rgb;
  rgb.resize(samples.height, samples.width, 3);
  const bool grey = style.colour == PngColour::kGrey || style.colour == PngColour::kGreyAlpha;
  const int largest = style.depth >= 8 ? 255 : (1 << style.depth) - 1;
  for (int64_t y = 0; y < samples.height; ++y) {
    for (int64_t x = 0; x < samples.width; ++x) {
      const int first = at(samples, y, x, 0);
      for (int64_t c = 0; c < 3; ++c) {
        int value = grey ? first * 255 / largest : at(samples, y, x, samples.channels < 3 ? 0 : c);
        if (style.colour == PngColour::kPalette) {
          value = c == 0 ? first : c == 1 ? 255 - first : 2 * first % 256;
        }
        rgb.pixels[static_cast<size_t>((y * rgb.width + x) * 3 + c)] = static_cast<uint8_t>(value);
      }
    }
  }
  return rgb;
}

Image make_samples(const PngCase& png, int64_t height, int64_t width) {
  Image samples = make_photo(height, width, png.channels);
  const int shift = std::max(0, 8 - png.style.depth);
  for (uint8_t& value : samples.pixels) value = static_cast<uint8_t>(value >> shift);
  return samples;
}

TEST(Png, AllFormsGiveTheirPixels) {
  for (const PngCase& png : png_cases()) {
    const Image samples = make_samples(png, 19, 27);
    const Bytes file = png_bytes(samples, png.style);
    const Image expected = expected_rgb(samples, png.style);
    const Image rgb = decode_whole(file, 3);
    ASSERT_TRUE(is_part_of(rgb, expected, 0, 0))
        << static_cast<int>(png.style.colour) << ' ' << png.style.depth;
    if (read_image_header(file, "a").grey) {
      const Image grey = decode_whole(file, 1);
      for (int64_t y = 0; y < 19; ++y) {
        for (int64_t x = 0; x < 27; ++x) ASSERT_EQ(at(grey, y, x, 0), at(rgb, y, x, 0));
      }
    } else {
      EXPECT_THAT(bad_data([&] { decode_whole(file, 1); }), HasSubstr("is a colour image"));
    }
  }
}

TEST(Png, APartHasThePixelsOfTheWhole) {
  for (const bool interlaced : {false, true}) {
    const Image photo = make_photo(45, 52, 3);
    const Bytes file = png_bytes(photo, {.interlaced = interlaced});
    for (int64_t i = 0; i < 20; ++i) {
      const Framing framing{.cut = Cut::kRandom, .height = 4, .width = 4, .key = {0, i}};
      const Rect rect = choose_rect(framing, 45, 52);
      const Image part = decode(file, 3, framing);
      ASSERT_EQ(part.height, rect.height);
      ASSERT_EQ(part.width, rect.width);
      ASSERT_TRUE(is_part_of(part, photo, rect.top, rect.left));
    }
  }
}

// PNG files are checked to their end: cut off anywhere, or with any bit flipped, they are refused.
TEST(Png, TruncatedAnywhere) {
  for (const bool interlaced : {false, true}) {
    const Bytes file = png_bytes(make_photo(9, 11, 3), {.interlaced = interlaced});
    for (size_t size = 0; size < file.size(); ++size) {
      const Bytes part(file.begin(), file.begin() + static_cast<ptrdiff_t>(size));
      ASSERT_THAT(
          bad_data([&] { decode(part, 3, {.cut = Cut::kCenter, .height = 4, .width = 4}); }),
          HasSubstr("a.jpg: "))
          << size;
    }
  }
}

TEST(Png, FlippedBitsAreErrors) {
  for (const bool interlaced : {false, true}) {
    const Bytes file = png_bytes(make_photo(9, 11, 3), {.interlaced = interlaced});
    for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
      Bytes damaged = file;
      damaged[bit / 8] = static_cast<uint8_t>(damaged[bit / 8] ^ (1 << bit % 8));
      ASSERT_THAT(
          bad_data([&] { decode(damaged, 3, {.cut = Cut::kCenter, .height = 4, .width = 4}); }),
          HasSubstr("a.jpg: "))
          << bit;
    }
  }
}

}  // namespace
}  // namespace largo::data
