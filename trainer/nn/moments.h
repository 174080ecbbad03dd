// Mean and variance per channel, and of several sets of values together.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>

namespace largo::nn {

// Of one set of values per channel.
struct Moments {
  int64_t count = 0;       // values per channel
  torch::Tensor mean;      // [channels], float64
  torch::Tensor variance;  // [channels], float64, biased
};

// Of all values of several sets together: counts[i] values per channel with the i-th row of `means`
// and of `variances`, [sets, channels] in float64. Sets without values are legal; if all are, mean
// and variance are zero. Equal input gives equal bits.
// Chan, Golub, LeVeque 1979, eq. 2.1, for any number of sets: no digits are lost however far the
// means lie from zero.
Moments pool(std::span<const int64_t> counts, const torch::Tensor& means,
             const torch::Tensor& variances);

// Unbiased over biased variance of n values: n / (n - 1); 1 of one value, whose variance is 0.
double unbiased_factor(int64_t count);

}  // namespace largo::nn
