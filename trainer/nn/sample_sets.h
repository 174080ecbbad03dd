// Batch normalization of consecutive sets of samples, each by statistics of its own: the arithmetic
// of every kind that ATen has no kernel for.
//
// All of it works on z = x - pivot, with a pivot per set and channel that is near the set's mean.
// Sums of z and of its square then lose no digits however far the mean lies from zero, nor does
// scale * z + shift, whose single precision would otherwise be that of |mean|, not of the
// deviation.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "trainer/nn/moments.h"

namespace largo::nn {

// What sets are normalized with. They may be of more samples than this rank has.
struct SetStatistics {
  torch::Tensor mean;                   // [sets, channels], float64
  torch::Tensor variance;               // [sets, channels], float64, biased
  std::vector<int64_t> counts;          // values per channel of each set, on all ranks
  comm::Communicator* group = nullptr;  // the ranks that share them; null: this rank alone
};

// Images [n, channels, height, width] in sets of `set_samples`, the last of which may be smaller.
// No images are one set, whose count, mean and variance are zero.
struct SampleSets {
  torch::Tensor z;      // images - pivot in their memory format, float32 at least; no gradient
  torch::Tensor pivot;  // [sets, channels], float64
  int64_t set_samples = 0;
  SetStatistics statistics;  // of these samples
};

SampleSets make_sets(const torch::Tensor& images, int64_t set_samples);

// Of all images together.
Moments moments_of(const torch::Tensor& images);

// weight * (x - mean) / sqrt(variance + epsilon) + bias in x's dtype, where `sets` were made from
// x. Weight and bias, [channels], may be undefined. Backward treats the statistics as the functions
// of x, on all ranks of the group, that they are: one sum over these ranks, which all of them must
// reach, unless x needs no gradient. The gradients of weight and bias are of this rank's samples.
// The group must outlive backward.
// Formulas: Ioffe and Szegedy 2015, section 3.
torch::Tensor normalize(const torch::Tensor& x, const SampleSets& sets,
                        const SetStatistics& statistics, const torch::Tensor& weight,
                        const torch::Tensor& bias, double epsilon);

}  // namespace largo::nn
