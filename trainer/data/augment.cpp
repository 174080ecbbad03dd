#include "trainer/data/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "trainer/base/keyed_random.h"

namespace largo::data {

namespace {

KeyedRandom random_of(uint64_t seed, Purpose purpose, const SampleKey& key) {
  return KeyedRandom(seed, purpose, static_cast<uint32_t>(key.epoch),
                     static_cast<uint64_t>(key.index));
}

template <int64_t kChannels>
void copy_mirrored(const uint8_t* from, int64_t pixels, uint8_t* to) {
  for (int64_t x = 0; x < pixels; ++x) {
    const uint8_t* pixel = from + (pixels - 1 - x) * kChannels;
    for (int64_t c = 0; c < kChannels; ++c) to[x * kChannels + c] = pixel[c];
  }
}

void copy_mirrored(const uint8_t* from, int64_t pixels, int64_t channels, uint8_t* to) {
  if (channels == 3) {
    copy_mirrored<3>(from, pixels, to);
    return;
  }
  for (int64_t x = 0; x < pixels; ++x) {
    std::copy_n(from + (pixels - 1 - x) * channels, channels, to + x * channels);
  }
}

}  // namespace

Placement draw_placement(const AugmentOptions& options, uint64_t seed, const SampleKey& key) {
  KeyedRandom random = random_of(seed, Purpose::kAugment, key);
  const uint64_t shifts = 2 * static_cast<uint64_t>(options.pad_crop) + 1;
  Placement placement;
  placement.down = static_cast<int64_t>(random.below(shifts)) - options.pad_crop;
  placement.right = static_cast<int64_t>(random.below(shifts)) - options.pad_crop;
  placement.flip = random.below(2) == 1 && options.flip;
  return placement;
}

void place(const uint8_t* from, const SampleShape& shape, const Placement& placement, uint8_t* to) {
  const auto [channels, height, width] = shape;
  // The output columns, before mirroring, whose pixels lie inside the sample.
  const int64_t begin = std::clamp<int64_t>(-placement.right, 0, width);
  const int64_t end = std::clamp<int64_t>(width - placement.right, begin, width);
  const int64_t first = placement.flip ? width - end : begin;
  const int64_t row_bytes = width * channels, inside_bytes = (end - begin) * channels;
  for (int64_t y = 0; y < height; ++y, to += row_bytes) {
    const int64_t source = y + placement.down;
    const bool inside = source >= 0 && source < height && begin < end;
    if (!inside || inside_bytes < row_bytes) std::memset(to, 0, row_bytes);
    if (!inside) continue;
    const uint8_t* row = from + source * row_bytes + (begin + placement.right) * channels;
    if (placement.flip) {
      copy_mirrored(row, end - begin, channels, to + first * channels);
    } else {
      std::memcpy(to + first * channels, row, inside_bytes);
    }
  }
}

Rect draw_cutout(const AugmentOptions& options, uint64_t seed, const SampleKey& key, int64_t height,
                 int64_t width) {
  if (options.cutout == 0) return {};
  KeyedRandom random = random_of(seed, Purpose::kCutout, key);
  const auto clipped = [&](int64_t length) {
    const auto centre = static_cast<int64_t>(random.below(static_cast<uint64_t>(length)));
    const int64_t begin = centre - options.cutout / 2;
    return std::pair(std::max<int64_t>(begin, 0), std::min(begin + options.cutout, length));
  };
  const auto [top, bottom] = clipped(height);
  const auto [left, right] = clipped(width);
  return {.top = top, .left = left, .height = bottom - top, .width = right - left};
}

void fill(uint8_t* pixels, const SampleShape& shape, const Rect& rect,
          std::span<const uint8_t> colour) {
  for (int64_t y = rect.top; y < rect.top + rect.height; ++y) {
    uint8_t* to = pixels + (y * shape.width + rect.left) * shape.channels;
    for (int64_t x = 0; x < rect.width; ++x) to = std::copy(colour.begin(), colour.end(), to);
  }
}

std::vector<uint8_t> mean_colour(std::span<const double> mean) {
  std::vector<uint8_t> colour;
  for (const double value : mean) {
    colour.push_back(static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0, 1.0))));
  }
  return colour;
}

}  // namespace largo::data
