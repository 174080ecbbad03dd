// Normalization, sum with a residual and ReLU as one operation of few passes over memory, for
// channels_last tensors on the CPU. Of x, z = norm(x), y = relu(z + residual):
//   forward   read x | read x and residual, write y
//   backward  read x and dy, and with a residual y, write its gradient | read x and dy, write dx
// where a bar is a pass over all memory unless a set of statistics is small: those stay in cache.
// Saved for backward are x and, with a residual and ReLU, y, which the next layer keeps anyway.
//
// Equal input gives equal bits whatever the number of threads.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "trainer/nn/sample_sets.h"

namespace largo::nn {

// What follows a normalization: y = relu(norm(x) + residual), as far as asked for.
struct Epilogue {
  bool relu = false;
  torch::Tensor residual = {};  // of x's shape and dtype; undefined: none
};

// Whether x can be fused: on the CPU, channels_last, float32 or bfloat16. No samples are legal.
bool can_fuse(const torch::Tensor& x);

// Mean and biased variance of each set of `set_samples` consecutive samples; the last may be
// smaller. No images are one set, whose count, mean and variance are zero.
SetStatistics fused_statistics(const torch::Tensor& x, int64_t set_samples);

// As normalize() of sample_sets.h, and the epilogue. Weight and bias, [channels], are float32 or
// undefined. The result may be changed in place, but not one of a residual and ReLU.
torch::Tensor fused_normalize(const torch::Tensor& x, int64_t set_samples,
                              const SetStatistics& statistics, const torch::Tensor& weight,
                              const torch::Tensor& bias, double epsilon, const Epilogue& then);

// With given statistics, [channels], that are no function of x.
torch::Tensor fused_affine(const torch::Tensor& x, const torch::Tensor& mean,
                           const torch::Tensor& variance, const torch::Tensor& weight,
                           const torch::Tensor& bias, double epsilon, const Epilogue& then);

// With the statistics of each image and group of channels.
torch::Tensor fused_group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                               const torch::Tensor& bias, double epsilon, const Epilogue& then);

}  // namespace largo::nn
