// What tests of image decoding share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/data/data_test_util.h"
#include "tests/data/image_bytes.h"
#include "trainer/data/decode.h"

namespace largo::data {

using Bytes = std::vector<uint8_t>;

inline std::string bad_data(const std::function<void()>& action) {
  return failure(ExitCode::kBadData, action);
}

inline Framing whole(int64_t height, int64_t width) {
  return {.cut = Cut::kWhole, .height = height, .width = width};
}

inline Image decode(const Bytes& file, int64_t channels, const Framing& framing) {
  Image image;
  decode_image(file, channels, framing, "a.jpg", image);
  EXPECT_EQ(image.channels, channels);
  return image;
}

inline Image decode_whole(const Bytes& file, int64_t channels) {
  const ImageHeader header = read_image_header(file, "a.jpg");
  return decode(file, channels, whole(header.height, header.width));
}

inline uint8_t at(const Image& image, int64_t y, int64_t x, int64_t c) {
  return image.pixels[static_cast<size_t>((y * image.width + x) * image.channels + c)];
}

// Whether every value of `part` is the one at its place in `image`.
inline bool is_part_of(const Image& part, const Image& image, int64_t top, int64_t left) {
  for (int64_t y = 0; y < part.height; ++y) {
    for (int64_t x = 0; x < part.width; ++x) {
      for (int64_t c = 0; c < part.channels; ++c) {
        if (at(part, y, x, c) != at(image, top + y, left + x, c)) return false;
      }
    }
  }
  return true;
}

// Root of the mean squared difference.
inline double distance(const Image& a, const Image& b) {
  EXPECT_EQ(a.height, b.height);
  EXPECT_EQ(a.width, b.width);
  double sum = 0;
  const auto values = static_cast<size_t>(a.height * a.width * a.channels);
  for (size_t i = 0; i < values; ++i) sum += std::pow(a.pixels[i] - b.pixels[i], 2);
  return std::sqrt(sum / static_cast<double>(values));
}

}  // namespace largo::data
