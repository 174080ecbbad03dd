#include "trainer/data/jpeg_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/decode_test_util.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::vector<JpegStyle> jpeg_styles() {
  std::vector<JpegStyle> styles;
  for (const bool progressive : {false, true}) {
    for (const auto& [h, v] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {4, 2}, {2, 4}}) {
      styles.push_back({.sampling_h = h, .sampling_v = v, .progressive = progressive});
    }
  }
  styles.push_back({.sampling_h = 2, .sampling_v = 2, .restart_rows = 1});
  styles.push_back({.sampling_h = 2, .sampling_v = 2, .arithmetic = true});
  styles.push_back({.colour = JpegColour::kRgb});
  return styles;
}

TEST(Jpeg, ComesOutAsItWentIn) {
  const Image photo = make_photo(75, 91, 3);
  for (const JpegStyle& style : jpeg_styles()) {
    EXPECT_LT(distance(decode_whole(jpeg_bytes(photo, style), 3), photo), 6);
  }
}

TEST(Jpeg, GreyStaysGreyOrGetsThreeEqualChannels) {
  const Image photo = make_photo(40, 52, 1);
  const Bytes file = jpeg_bytes(photo, {.colour = JpegColour::kGrey, .quality = 100});
  const Image grey = decode_whole(file, 1), colour = decode_whole(file, 3);
  EXPECT_LT(distance(grey, photo), 2);
  for (int64_t y = 0; y < 40; ++y) {
    for (int64_t x = 0; x < 52; ++x) {
      for (int64_t c = 0; c < 3; ++c) ASSERT_EQ(at(colour, y, x, c), at(grey, y, x, 0));
    }
  }
}

// What Pillow 13 makes of such files: the stored values are inverted, and then the ink is taken
// off.
TEST(Jpeg, CmykIsConvertedAsByPillow) {
  for (const JpegColour colour : {JpegColour::kCmyk, JpegColour::kYcck}) {
    Image image;
    image.resize(16, 16, 4);
    for (size_t i = 0; i < 256; ++i) {
      const uint8_t cmyk[] = {200, 100, 50, 220};
      std::copy_n(cmyk, 4, image.pixels.begin() + static_cast<ptrdiff_t>(4 * i));
    }
    const Bytes file = jpeg_bytes(image, {.colour = colour, .quality = 100});
    const Image rgb = decode_whole(file, 3);
    EXPECT_NEAR(at(rgb, 8, 8, 0), 173, 2);
    EXPECT_NEAR(at(rgb, 8, 8, 1), 86, 2);
    EXPECT_NEAR(at(rgb, 8, 8, 2), 43, 2);
    EXPECT_THAT(bad_data([&] { decode_whole(file, 1); }), HasSubstr("is a colour image"));
  }
}

TEST(Jpeg, APartHasThePixelsOfTheWhole) {
  for (const JpegStyle& style : jpeg_styles()) {
    const Bytes file = jpeg_bytes(make_photo(67, 85, 3), style);
    const Image all = decode_whole(file, 3);
    for (int64_t i = 0; i < 40; ++i) {
      // Samples larger than the image: nothing is reduced.
      const Framing framing{
          .cut = Cut::kRandom, .height = 100, .width = 100, .seed = 3, .key = {0, i}};
      const Rect rect = choose_rect(framing, 67, 85);
      const Image part = decode(file, 3, framing);
      ASSERT_EQ(part.height, rect.height);
      ASSERT_EQ(part.width, rect.width);
      ASSERT_TRUE(is_part_of(part, all, rect.top, rect.left))
          << style.sampling_h << 'x' << style.sampling_v << ' ' << style.progressive << ' ' << i;
    }
  }
}

// The mean of reduction x reduction pixels each.
Image box_average(const Image& image, int64_t reduction) {
  Image small;
  small.resize(image.height / reduction, image.width / reduction, image.channels);
  for (int64_t y = 0; y < small.height; ++y) {
    for (int64_t x = 0; x < small.width; ++x) {
      for (int64_t c = 0; c < small.channels; ++c) {
        int64_t sum = 0;
        for (int64_t dy = 0; dy < reduction; ++dy) {
          for (int64_t dx = 0; dx < reduction; ++dx) {
            sum += at(image, y * reduction + dy, x * reduction + dx, c);
          }
        }
        small.pixels[static_cast<size_t>((y * small.width + x) * small.channels + c)] =
            static_cast<uint8_t>(sum / (reduction * reduction));
      }
    }
  }
  return small;
}

TEST(Jpeg, ReducedIsNearTheMeanOfThePixels) {
  for (const JpegStyle& style : jpeg_styles()) {
    const Bytes file = jpeg_bytes(make_photo(160, 192, 3), style);
    const Image all = decode_whole(file, 3);
    for (const int64_t reduction : {1, 2, 4, 8}) {
      const Framing framing{
          .cut = Cut::kCenter, .height = 160 / reduction, .width = 192 / reduction};
      const Image small = decode(file, 3, framing);
      // libjpeg reduces both directions alike, so that other chroma is enlarged again.
      const bool even = style.sampling_h == style.sampling_v;
      ASSERT_LT(distance(small, box_average(all, reduction)), even ? 1 : 11) << reduction;
    }
  }
}

TEST(Jpeg, IsReducedWhileTheSampleStillFits) {
  const Bytes file = jpeg_bytes(make_photo(160, 200, 3), {});
  const auto decoded = [&](int64_t side) {
    const Image image = decode(file, 3, {.cut = Cut::kCenter, .height = side, .width = side});
    EXPECT_EQ(image.height, image.width);
    return image.height;
  };
  EXPECT_EQ(decoded(200), 160);
  EXPECT_EQ(decoded(81), 160);
  EXPECT_EQ(decoded(80), 80);
  EXPECT_EQ(decoded(41), 80);
  EXPECT_EQ(decoded(40), 40);
  EXPECT_EQ(decoded(20), 20);
  EXPECT_EQ(decoded(3), 20);
}

TEST(Jpeg, AReducedPartIsPartOfTheReducedWhole) {
  for (const JpegStyle& style : jpeg_styles()) {
    const Bytes file = jpeg_bytes(make_photo(155, 205, 3), style);
    const Image all = decode(file, 3, {.cut = Cut::kCenter, .height = 62, .width = 82});
    ASSERT_EQ(all.height, 78);
    ASSERT_EQ(all.width, 103);
    int reduced = 0;
    for (int64_t i = 0; i < 60; ++i) {
      const Framing framing{
          .cut = Cut::kRandom, .height = 33, .width = 33, .seed = 5, .key = {0, i}};
      const Rect rect = choose_rect(framing, 155, 205);
      if (std::min(rect.height, rect.width) < 66 || std::min(rect.height, rect.width) >= 132)
        continue;
      const Image part = decode(file, 3, framing);
      ASSERT_GE(part.height, 33);
      ASSERT_GE(part.width, 33);
      ASSERT_LE(std::abs(2 * part.height - rect.height), 2);
      ASSERT_LE(std::abs(2 * part.width - rect.width), 2);
      ASSERT_TRUE(is_part_of(part, all, (rect.top + 1) / 2, (rect.left + 1) / 2)) << i;
      ++reduced;
    }
    ASSERT_GT(reduced, 5);
  }
}

TEST(Jpeg, SmallestImages) {
  for (const JpegStyle& style : jpeg_styles()) {
    for (const auto& [height, width] : {std::pair{1, 1}, {1, 30}, {30, 1}, {2, 3}}) {
      const Bytes file = jpeg_bytes(make_photo(height, width, 3), style);
      for (int64_t i = 0; i < 10; ++i) {
        const Image part = decode(
            file, 3, {.cut = Cut::kRandom, .height = 1, .width = 1, .seed = 1, .key = {0, i}});
        EXPECT_GE(part.height * part.width, 1);
      }
    }
  }
}

// Cut off anywhere, a file is either refused or, where only what follows the last row asked for is
// missing, gives the same pixels. Exact copies let the sanitizers see reads behind the end.
TEST(Jpeg, TruncatedAnywhere) {
  for (const bool progressive : {false, true}) {
    const Bytes file = jpeg_bytes(make_photo(24, 40, 3),
                                  {.sampling_h = 2, .sampling_v = 2, .progressive = progressive});
    const Image all = decode_whole(file, 3);
    size_t decoded = 0;
    for (size_t size = 0; size < file.size(); ++size) {
      const Bytes part(file.begin(), file.begin() + static_cast<ptrdiff_t>(size));
      try {
        ASSERT_TRUE(is_part_of(decode(part, 3, whole(24, 40)), all, 0, 0)) << size;
        ++decoded;
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), ExitCode::kBadData);
        ASSERT_THAT(error.what(), HasSubstr("a.jpg: "));
      }
    }
    EXPECT_LE(decoded, 8u);  // the end mark, and bits that fill the last byte
  }
}

TEST(Jpeg, TheRowsBelowThePartAreNotNeeded) {
  const Bytes file = jpeg_bytes(make_photo(400, 64, 3), {});
  const Bytes half(file.begin(), file.begin() + static_cast<ptrdiff_t>(file.size() * 3 / 4));
  const Framing framing{.cut = Cut::kCenter, .height = 64, .width = 64};
  EXPECT_TRUE(is_part_of(decode(half, 3, framing), decode_whole(file, 3), 168, 0));
  EXPECT_THAT(bad_data([&] { decode(half, 3, whole(400, 64)); }),
              AllOf(HasSubstr("a.jpg: cannot be decoded"), HasSubstr("remature end")));
}

void flip_bits(const Bytes& file, const Framing& framing) {
  const ImageHeader header = read_image_header(file, "a.jpg");
  Image image;
  for (size_t byte = 0; byte < file.size(); ++byte) {
    for (const int bit : {0, 3, 7}) {
      Bytes damaged = file;
      damaged[byte] = static_cast<uint8_t>(damaged[byte] ^ (1 << bit));
      try {
        decode_image(damaged, 3, framing, "a.jpg", image);
        ASSERT_LE(image.height, std::max<int64_t>(header.height, 65'535));
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), ExitCode::kBadData) << error.what();
      }
    }
  }
}

TEST(Jpeg, FlippedBitsAreErrorsOrPixels) {
  for (const bool progressive : {false, true}) {
    flip_bits(jpeg_bytes(make_photo(20, 24, 3),
                         {.sampling_h = 2, .sampling_v = 2, .progressive = progressive}),
              {.cut = Cut::kRandom, .height = 8, .width = 8, .seed = 2});
  }
}

// Stray bytes before a marker, as some cameras write: libjpeg warns and loses nothing.
TEST(Jpeg, StrayBytesAreHarmless) {
  Bytes file = jpeg_bytes(make_photo(24, 40, 3), {.progressive = true});
  const Image all = decode_whole(file, 3);
  file.insert(file.end() - 2, 40, 1);  // more than are read ahead
  EXPECT_TRUE(is_part_of(decode_whole(file, 3), all, 0, 0));
}

}  // namespace
}  // namespace largo::data
