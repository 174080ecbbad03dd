// The largest of each 2 x 2 pixels, on CPUs: images of float32, the channels of a pixel together.
#pragma once

#include <cstdint>

#include "comm/base/cpu_isa.h"

namespace largo::nn {

// Of an image before pooling; a last odd row or column takes no part.
struct PoolShape {
  int64_t channels = 0, height = 0, width = 0;

  int64_t values() const { return channels * height * width; }
  int64_t pooled_row() const { return channels * (width / 2); }
  int64_t pooled_pixels() const { return (height / 2) * (width / 2); }
  int64_t pooled_values() const { return channels * pooled_pixels(); }
};

// y = the largest + bias[channel]; `which` of the four pixels, 0 to 3 row by row, it was: the first
// of equal ones, and a NaN before all numbers, as ATen has it. `scratch` is room for pooled_row()
// values. Every instruction set makes the same bits.
void pool_image(const PoolShape& shape, const float* x, const float* bias, float* y, uint8_t* which,
                int32_t* scratch, CpuIsa isa = best_cpu_isa());

// Writes all of dx: dy at the pixel that was the largest, else 0. Adds dy's sums over the pixels to
// dbias[channel], in their order.
void unpool_image(const PoolShape& shape, const float* dy, const uint8_t* which, float* dx,
                  float* dbias, int32_t* scratch, CpuIsa isa = best_cpu_isa());

}  // namespace largo::nn
