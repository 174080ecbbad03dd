// Rectangles of images that are in memory.
#pragma once

#include <cstdint>

#include "trainer/data/dataset.h"
#include "trainer/data/framing.h"

namespace largo::data {

// The pixels inside `rect` of an image of so many columns and channels.
void copy_rect(const uint8_t* pixels, int64_t width, int64_t channels, const Rect& rect,
               Image& image);

// Leaves only the pixels inside `rect`.
void cut_out(const Rect& rect, Image& image);

}  // namespace largo::data
