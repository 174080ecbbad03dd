#include "trainer/data/augment.h"

#include <algorithm>

#include "comm/base/error.h"
#include "trainer/base/keyed_random.h"

namespace largo::data {

namespace {

// `count` pixels through the table, the output advancing by `step` values per pixel.
template <class T>
void normalize(const uint8_t* from, int64_t count, int64_t channels, const PixelTable<T>& table,
               T* to, int64_t step) {
  for (int64_t c = 0; c < channels; ++c) {
    const T* const values = table.channel(c);
    for (int64_t x = 0; x < count; ++x) to[x * step + c] = values[from[x * channels + c]];
  }
}

template <class T>
void blacken(std::span<T> to, int64_t channels, const PixelTable<T>& table) {
  for (size_t at = 0; at < to.size();) {
    for (int64_t c = 0; c < channels; ++c) to[at++] = table.channel(c)[0];
  }
}

}  // namespace

Placement draw_placement(const AugmentOptions& options, uint64_t seed, const SampleKey& key) {
  KeyedRandom random(seed, Purpose::kAugment, static_cast<uint32_t>(key.epoch),
                     static_cast<uint64_t>(key.index));
  const uint64_t shifts = 2 * static_cast<uint64_t>(options.pad_crop) + 1;
  Placement placement;
  placement.down = static_cast<int64_t>(random.below(shifts)) - options.pad_crop;
  placement.right = static_cast<int64_t>(random.below(shifts)) - options.pad_crop;
  placement.flip = random.below(2) == 1 && options.flip;
  return placement;
}

template <class T>
PixelTable<T>::PixelTable(std::span<const double> mean, std::span<const double> std) {
  LARGO_CHECK(mean.size() == std.size(), mean.size(), " means and ", std.size(), " deviations");
  for (size_t c = 0; c < mean.size(); ++c) {
    for (int value = 0; value < 256; ++value) {
      values_.push_back(static_cast<T>((value / 255.0 - mean[c]) / std[c]));
    }
  }
}

template <class T>
void place(std::span<const uint8_t> from, const SampleShape& shape, const Placement& placement,
           const PixelTable<T>& table, std::span<T> to) {
  const int64_t channels = shape.channels, width = shape.width;
  // The output columns, before mirroring, whose pixels lie inside the sample.
  const int64_t begin = std::clamp<int64_t>(-placement.right, 0, width);
  const int64_t end = std::clamp<int64_t>(width - placement.right, begin, width);
  const int64_t first = placement.flip ? width - 1 - begin : begin;
  const int64_t step = placement.flip ? -channels : channels;
  for (int64_t y = 0; y < shape.height; ++y) {
    const std::span<T> row = to.subspan(y * width * channels, width * channels);
    const int64_t source = y + placement.down;
    const bool inside = source >= 0 && source < shape.height;
    if (!inside || end - begin < width) blacken(row, channels, table);
    if (!inside || begin == end) continue;
    normalize(from.data() + (source * width + begin + placement.right) * channels, end - begin,
              channels, table, row.data() + first * channels, step);
  }
}

template class PixelTable<float>;
template class PixelTable<double>;
template void place(std::span<const uint8_t>, const SampleShape&, const Placement&,
                    const PixelTable<float>&, std::span<float>);
template void place(std::span<const uint8_t>, const SampleShape&, const Placement&,
                    const PixelTable<double>&, std::span<double>);

}  // namespace largo::data
