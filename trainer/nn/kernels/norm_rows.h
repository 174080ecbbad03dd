// The loops over memory of normalization, for images whose channels lie last: a matrix of rows
// (pixels) by channels. No LibTorch, one thread.
//
// All of it works on z = x - pivot with a pivot per channel near the mean: neither sums nor
// differences lose digits however far the mean lies from zero. Sums are of single precision over a
// few dozen rows and of double precision from there on. Equal calls give equal bits; those of two
// instruction sets may differ, for one fuses a * b + c and the other does not.
#pragma once

#include <cstdint>

#include "comm/base/cpu_isa.h"

namespace largo::nn {

enum class RowType : uint8_t { kFloat, kBfloat16 };

// The size and type of every matrix of a call; arithmetic is float32.
struct Rows {
  int64_t rows = 0;
  int64_t channels = 0;
  RowType type = RowType::kFloat;
  CpuIsa isa = best_cpu_isa();
};

// Mean and sum of squared deviations of each of `channels`.
// Welford's update by blocks of rows: Chan, Golub, LeVeque 1979, eq. 2.1.
void row_moments(const Rows& size, const void* x, double* mean, double* m2);

// Adds the moments of `more` values to those of `count`; either number may be zero.
void merge_moments(int64_t channels, int64_t count, double* mean, double* m2, int64_t more,
                   const double* more_mean, const double* more_m2);

// What normalization is per channel: (x - pivot) * scale + shift.
struct ChannelLine {
  const float* pivot;
  const float* scale;
  const float* shift;
};

// y = the line of x; + residual, unless that is null; then its positive part if `relu`. NaN stays.
void normalize_rows(const Rows& size, const ChannelLine& line, const void* x, const void* residual,
                    bool relu, void* y);

// The gradient with respect to y, and what tells where relu let it through: y itself or, where that
// is null, the line of x.
struct RowGradient {
  const void* dy;
  bool relu = false;
  const void* y = nullptr;
};

// Sums over the rows of g and of g * z, where g is dy with zeros where relu cut y off. Writes g to
// `masked` unless that is null, which it may be only where y is.
void gradient_sums(const Rows& size, const ChannelLine& line, const void* x,
                   const RowGradient& gradient, void* masked, double* sum_g, double* sum_gz);

// Per channel.
struct GradientLine {
  const float* of_g;
  const float* of_z;
  const float* constant;
};

// dx = of_g * g + of_z * z + constant; gradient.y must be null.
void input_gradient_rows(const Rows& size, const ChannelLine& line, const GradientLine& by,
                         const void* x, const RowGradient& gradient, void* dx);

}  // namespace largo::nn
