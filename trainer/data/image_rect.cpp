#include "trainer/data/image_rect.h"

#include <cstring>

namespace largo::data {

namespace {

// `to` may lie at or before `pixels` in one buffer.
void move_rect(const uint8_t* pixels, int64_t width, int64_t channels, const Rect& rect,
               uint8_t* to) {
  const uint8_t* from = pixels + (rect.top * width + rect.left) * channels;
  const auto row = static_cast<size_t>(rect.width * channels);
  for (int64_t y = 0; y < rect.height; ++y, from += width * channels, to += row) {
    std::memmove(to, from, row);
  }
}

}  // namespace

void copy_rect(const uint8_t* pixels, int64_t width, int64_t channels, const Rect& rect,
               Image& image) {
  image.resize(rect.height, rect.width, channels);
  move_rect(pixels, width, channels, rect, image.pixels.data());
}

void cut_out(const Rect& rect, Image& image) {
  if (rect.height == image.height && rect.width == image.width) return;
  move_rect(image.pixels.data(), image.width, image.channels, rect, image.pixels.data());
  image.resize(rect.height, rect.width, image.channels);
}

}  // namespace largo::data
