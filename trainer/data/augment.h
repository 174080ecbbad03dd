// From the pixels of a sample to its numbers in a batch: random crop and flip, normalization.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/base/sample_key.h"
#include "trainer/data/dataset.h"
#include "trainer/data/options.h"

namespace largo::data {

// Where an image's pixels come from: pixel (y, x) from (y + down, x + right) of the sample, black
// (0, before normalization) where that lies outside, and then mirrored if `flip`. So it is
// torchvision's RandomCrop(size, padding) followed by RandomHorizontalFlip.
struct Placement {
  int64_t down = 0;   // −pad_crop … pad_crop
  int64_t right = 0;  // the same
  bool flip = false;

  friend bool operator==(const Placement&, const Placement&) = default;
};

// Follows from (seed, key) alone. Three numbers are drawn, down, right, flip, in this order and
// whether used or not, so that switching one on leaves the others as they were.
Placement draw_placement(const AugmentOptions& options, uint64_t seed, const SampleKey& key);

// (pixel / 255 − mean) / std for every channel and pixel value, computed in double and rounded
// once. T is float or double.
template <class T>
class PixelTable {
 public:
  PixelTable(std::span<const double> mean, std::span<const double> std);

  // The 256 values of a channel.
  const T* channel(int64_t c) const { return values_.data() + 256 * c; }

 private:
  std::vector<T> values_;
};

// Places one sample and normalizes it. Both sides are in (height, width, channels) order.
template <class T>
void place(std::span<const uint8_t> from, const SampleShape& shape, const Placement& placement,
           const PixelTable<T>& table, std::span<T> to);

}  // namespace largo::data
