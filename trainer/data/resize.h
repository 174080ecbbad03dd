// Images to another size.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/data/dataset.h"

namespace largo::data {

// Antialiased bilinear: each pixel is the mean of the source pixels under a triangle two pixels
// wide, or, where the image becomes smaller, two pixels of the result. Along the rows first,
// rounded to whole pixel values, then along the columns. Each of the two is what Pillow's
// Image.resize(size, BILINEAR) does along one axis (libImaging/Resample.c), to the bit and on every
// processor, with weights in units of 2^-22. (Pillow itself takes the axes in this order up to
// version 12 and chooses it by size later; its pixels then differ by 1 here and there.)
//
// An object keeps memory from call to call; it serves one thread at a time.
class Resizer {
 public:
  // `from` has 1 or 3 channels and is not empty; height and width are at least 1.
  void resize(const Image& from, int64_t height, int64_t width, Image& to);

  // Along one axis: for every pixel of the result the source pixels that enter it.
  struct Taps {
    std::vector<int64_t> first;     // source pixel
    std::vector<int64_t> count;     // of source pixels
    std::vector<uint32_t> weights;  // one after the other, `count` for each
  };

 private:
  Taps horizontal_;
  Taps vertical_;
  std::vector<uint32_t> wide_;    // some rows of the source, side by side
  std::vector<uint8_t> between_;  // what the first pass makes
};

}  // namespace largo::data
