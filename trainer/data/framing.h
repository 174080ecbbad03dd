// Which part of a stored image becomes a sample.
#pragma once

#include <cstdint>

#include "trainer/base/sample_key.h"

namespace largo::data {

// In pixels.
struct Rect {
  int64_t top = 0;
  int64_t left = 0;
  int64_t height = 0;
  int64_t width = 0;

  friend bool operator==(const Rect&, const Rect&) = default;
};

enum class Cut {
  kWhole,   // the image as it is, which must have the sample's size
  kCenter,  // the largest centred rectangle of the sample's proportions, times `share`
  kRandom,  // random-resized-crop
};

struct Framing {
  Cut cut = Cut::kWhole;
  int64_t height = 0;  // of the sample
  int64_t width = 0;
  double share = 1;   // kCenter: 0.875 is 224 of 256
  uint64_t seed = 0;  // kRandom: the rectangle follows from (seed, key) and the image's size alone
  SampleKey key = {};
};

// The rectangle of an image of this size, inside it and not empty. kRandom is torchvision's
// RandomResizedCrop: 8 % … 100 % of the area, proportions 3/4 … 4/3 (uniform in their logarithm),
// ten attempts, then the centre. kCenter's sides are rounded to the nearest pixel, its corner
// towards the image's. kWhole gives the whole image, whatever its size.
Rect choose_rect(const Framing& framing, int64_t image_height, int64_t image_width);

}  // namespace largo::data
