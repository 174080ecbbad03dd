// Batch normalization over several ranks from given kernels: what GPUs do it with.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>

#include "comm/communicator.h"
#include "trainer/nn/batch_norm_kernels.h"
#include "trainer/nn/moments.h"

namespace largo::nn {

struct SynchronizedNorm {
  torch::Tensor y;  // of x's dtype, in its memory format
  Moments moments;  // of all values on all ranks
};

// As SyncBatchNorm says, for x [n, channels, height, width] where n may be zero. counts[r] are the
// values per channel on rank r of the group; they must not all be zero. Weight and bias,
// [channels], may be undefined.
// One all_gather of the local mean and variance, pooled in float64 by plain tensor operations (not
// by batch_norm_gather_stats_with_counts, which makes NaN of a first rank without values); in
// backward one all_reduce, unless x needs no gradient. The host waits for neither, as far as the
// group's collectives do not. The group must outlive backward.
// Precision is that of the kernels, float32 for all dtypes but float64: where |mean| is k times the
// standard deviation, y is off by about k * 1e-7.
SynchronizedNorm synchronized_norm(const BatchNormKernels& kernels, const torch::Tensor& x,
                                   std::span<const int64_t> counts, const torch::Tensor& weight,
                                   const torch::Tensor& bias, double epsilon,
                                   comm::Communicator& group);

}  // namespace largo::nn
