// Batch normalization with statistics over the micro-batches of a group of ranks.
#pragma once

#include <cstdint>
#include <span>

#include "trainer/nn/batch_norm.h"

namespace largo::nn {

// Equals one process that sees all micro-batches of the group at once, with any number of samples
// on each rank, zero included: values, input gradients and running statistics. The gradients of
// weight and bias are sums over this rank's samples only: the gradient reduction adds the ranks up.
//
// Forward: every rank gathers all (mean, biased variance) and pools them in rank order, in double
// precision (on GPUs the local ones are of single precision unless x is double: see
// synchronized_norm.h); the counts come from StepContext::samples_per_rank, which must name one
// count per rank of the group. Backward: one sum over the ranks of (sum dy, sum dy * xhat). So one
// collective each, on the calling thread (in backward of GPU tensors: on autograd's thread of that
// GPU), which every rank of the group must reach.
//
// `group` must outlive the layer and every backward through it.
class SyncBatchNorm final : public BatchNorm {
 public:
  SyncBatchNorm(const NormOptions& options, int64_t channels, comm::Communicator& group);

 private:
  torch::Tensor forward_training(const torch::Tensor& x, const StepContext& context,
                                 const Epilogue& then) override;

  // Gathers and pools one set's statistics, and deposits them.
  SetStatistics over_group(const SetStatistics& mine, std::span<const int64_t> counts,
                           const torch::Tensor& x, const StepContext& context);

  comm::Communicator& group_;
};

}  // namespace largo::nn
