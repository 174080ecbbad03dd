#include "trainer/data/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <tuple>

#include "tests/data/decode_test_util.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Header, OfJpegAndPng) {
  for (const auto colour : {JpegColour::kGrey, JpegColour::kYcc, JpegColour::kCmyk}) {
    const bool grey = colour == JpegColour::kGrey;
    const int64_t channels = grey ? 1 : colour == JpegColour::kYcc ? 3 : 4;
    const Bytes file = jpeg_bytes(make_photo(11, 23, channels), {.colour = colour});
    const ImageHeader header = read_image_header(file, "a");
    EXPECT_EQ(header.format, ImageHeader::Format::kJpeg);
    EXPECT_EQ(header.height, 11);
    EXPECT_EQ(header.width, 23);
    EXPECT_EQ(header.grey, grey);
  }
  for (const auto& [colour, channels, grey] : {std::tuple{PngColour::kGrey, 1, true},
                                               {PngColour::kGreyAlpha, 2, true},
                                               {PngColour::kRgb, 3, false},
                                               {PngColour::kRgba, 4, false},
                                               {PngColour::kPalette, 1, false}}) {
    const Bytes file = png_bytes(make_photo(300, 23, channels), {.colour = colour});
    const ImageHeader header = read_image_header(file, "a");
    EXPECT_EQ(header.format, ImageHeader::Format::kPng);
    EXPECT_EQ(header.height, 300);
    EXPECT_EQ(header.width, 23);
    EXPECT_EQ(header.grey, grey);
  }
}

// The two bytes of a size in the frame header (marker FFC0: length, precision, height, width).
Bytes with_jpeg_size(Bytes file, int height, int width) {
  for (size_t i = 0; i + 9 < file.size(); ++i) {
    if (file[i] != 0xff || file[i + 1] != 0xc0) continue;
    file[i + 5] = static_cast<uint8_t>(height >> 8);
    file[i + 6] = static_cast<uint8_t>(height);
    file[i + 7] = static_cast<uint8_t>(width >> 8);
    file[i + 8] = static_cast<uint8_t>(width);
    return file;
  }
  ADD_FAILURE() << "no frame header";
  return file;
}

void put_number(Bytes& file, size_t place, uint32_t number) {
  for (int i = 0; i < 4; ++i) file[place + i] = static_cast<uint8_t>(number >> (24 - 8 * i));
}

TEST(Header, ClaimsOfHugeImagesAreRefused) {
  const Framing framing{.cut = Cut::kCenter, .height = 8, .width = 8};
  const Bytes jpeg = jpeg_bytes(make_photo(8, 8, 3), {});
  const Bytes huge = with_jpeg_size(jpeg, 20'000, 20'000);
  for (const auto& action : {std::function<void()>([&] { read_image_header(huge, "a.jpg"); }),
                             std::function<void()>([&] { decode(huge, 3, framing); })}) {
    EXPECT_THAT(bad_data(action),
                AllOf(HasSubstr("a.jpg: claims 20000 x 20000 pixels"), HasSubstr("100000000")));
  }
  EXPECT_EQ(read_image_header(with_jpeg_size(jpeg, 10'000, 10'000), "a").height, 10'000);
  EXPECT_THAT(bad_data([&] { read_image_header(with_jpeg_size(jpeg, 0, 8), "a"); }),
              HasSubstr("a: is no JPEG image"));

  Bytes png = png_bytes(make_photo(8, 8, 3), {});
  put_number(png, 16, 0xffffffff);
  EXPECT_THAT(bad_data([&] { decode(png, 3, framing); }),
              HasSubstr("claims 8 x 4294967295 pixels"));
  put_number(png, 16, 65'536);
  EXPECT_THAT(bad_data([&] { decode(png, 3, framing); }), HasSubstr("no side over 65535"));
  put_number(png, 16, 0);
  EXPECT_THAT(bad_data([&] { decode(png, 3, framing); }), HasSubstr("has 8 x 0 pixels"));
}

TEST(Header, OtherFormatsAreRefused) {
  for (const std::string text : {"", "x", "GIF89a..........", "\xff\xd8", "\x89PNG"}) {
    const Bytes file(text.begin(), text.end());
    EXPECT_THAT(bad_data([&] { read_image_header(file, "b/c.png"); }), HasSubstr("b/c.png: is "));
    EXPECT_THAT(bad_data([&] { decode(file, 3, whole(1, 1)); }), HasSubstr("a.jpg: is "));
  }
}

TEST(Decode, WholeImagesMustHaveTheSize) {
  const Bytes file = png_bytes(make_photo(8, 9, 3), {});
  EXPECT_THAT(bad_data([&] { decode(file, 3, whole(8, 8)); }),
              AllOf(HasSubstr("a.jpg: has 8 x 9 pixels where others have 8 x 8"),
                    HasSubstr("give data.image_size")));
}

TEST(Decode, AnImageObjectServesAllSizes) {
  Image image;
  const Image large = make_photo(30, 40, 3), small = make_photo(5, 6, 3);
  decode_image(png_bytes(large, {}), 3, whole(30, 40), "a", image);
  decode_image(png_bytes(small, {}), 3, whole(5, 6), "a", image);
  EXPECT_EQ(image.height, 5);
  EXPECT_TRUE(is_part_of(image, small, 0, 0));
}

}  // namespace
}  // namespace largo::data
