// What is done to a sample's pixels: random crop, flip and cutout.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/base/sample_key.h"
#include "trainer/data/dataset.h"
#include "trainer/data/framing.h"
#include "trainer/data/options.h"

namespace largo::data {

// Where an image's pixels come from: pixel (y, x) from (y + down, x + right) of the sample, black
// where that lies outside, and then mirrored if `flip`. So it is torchvision's
// RandomCrop(size, padding) followed by RandomHorizontalFlip.
struct Placement {
  int64_t down = 0;   // −pad_crop … pad_crop
  int64_t right = 0;  // the same
  bool flip = false;

  friend bool operator==(const Placement&, const Placement&) = default;
};

// Follows from (seed, key) alone. Three numbers are drawn, down, right, flip, in this order and
// whether used or not, so that switching one on leaves the others as they were.
Placement draw_placement(const AugmentOptions& options, uint64_t seed, const SampleKey& key);

// Both sides are in (height, width, channels) order.
void place(const uint8_t* from, const SampleShape& shape, const Placement& placement, uint8_t* to);

// The part of an image of this size that cutout (DeVries & Taylor 2017) takes: a square of
// options.cutout pixels whose centre may be any pixel, clipped at the borders. Follows from
// (seed, key) alone; empty without cutout.
Rect draw_cutout(const AugmentOptions& options, uint64_t seed, const SampleKey& key, int64_t height,
                 int64_t width);

// Gives all pixels inside `rect` the colour, which has a value per channel.
void fill(uint8_t* pixels, const SampleShape& shape, const Rect& rect,
          std::span<const uint8_t> colour);

// `mean`, of pixels scaled to 0..1, as the nearest pixel values.
std::vector<uint8_t> mean_colour(std::span<const double> mean);

}  // namespace largo::data
