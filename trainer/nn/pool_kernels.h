// The largest of each 2 x 2 pixels, on CPUs: the channels of a pixel together. Images are of
// float32 or of bfloat16, as its 16 bits; sums are of float32, and rounded to the nearest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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

// What the kernels keep of two rows, to be used for one image after the other.
struct PoolScratch {
  explicit PoolScratch(const PoolShape& shape)
      : places(static_cast<size_t>(shape.pooled_row())),
        numbers(static_cast<size_t>(2 * shape.channels * shape.width + shape.pooled_row())) {}

  std::vector<int32_t> places;
  std::vector<float> numbers;
};

// y = the largest + bias[channel]; `which` of the four pixels, 0 to 3 row by row, it was: the first
// of equal ones, and a NaN before all numbers, as ATen has it. Every instruction set makes the same
// bits.
void pool_image(const PoolShape& shape, const float* x, const float* bias, float* y, uint8_t* which,
                PoolScratch& scratch, CpuIsa isa = best_cpu_isa());
void pool_image(const PoolShape& shape, const uint16_t* x, const float* bias, uint16_t* y,
                uint8_t* which, PoolScratch& scratch, CpuIsa isa = best_cpu_isa());

// Writes all of dx: dy at the pixel that was the largest, else 0. Adds dy's sums over the pixels to
// dbias[channel], in their order.
void unpool_image(const PoolShape& shape, const float* dy, const uint8_t* which, float* dx,
                  float* dbias, PoolScratch& scratch, CpuIsa isa = best_cpu_isa());
void unpool_image(const PoolShape& shape, const uint16_t* dy, const uint8_t* which, uint16_t* dx,
                  float* dbias, PoolScratch& scratch, CpuIsa isa = best_cpu_isa());

}  // namespace largo::nn
