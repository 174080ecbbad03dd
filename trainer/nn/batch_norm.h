// Batch normalization: running statistics, evaluation, and the kinds with statistics of one rank.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "trainer/nn/moments.h"
#include "trainer/nn/norm.h"

namespace largo::nn {

// In training the statistics are those of a micro-batch, which derived classes define; evaluation
// uses the running ones and communicates nothing.
//
// Training never writes the running statistics. Each forward adds
//   (this rank's samples in the micro-batch / samples of the step) * (mean, unbiased variance)
// to the tensors given to deposit_into(); summed over micro-batches and ranks that is the
// count-weighted mean over the step, which update_running() blends in. So all ranks hold the same
// buffers, and accumulation equals more ranks. One value per channel counts as variance 0.
class BatchNorm : public Norm {
 public:
  BatchNorm(const NormOptions& options, int64_t channels);

  // Where training forwards add their statistics, [channels] each; without a call they add none.
  void deposit_into(torch::Tensor mean, torch::Tensor variance);

  // Of every layer, buffer = (1 - momentum) * buffer + momentum * deposited; one more batch
  // tracked. On a GPU that is a few kernels for all of them.
  static void update_running(std::span<BatchNorm* const> layers);

  // From start_collecting() on, training forwards deposit nothing; instead stop_collecting()
  // returns the moments of all values that they saw on this rank, whatever the kind.
  void start_collecting();
  Moments stop_collecting();

  // The count of batches stays an integer.
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  using torch::nn::Module::to;

  torch::Tensor running_mean;         // [channels], from 0
  torch::Tensor running_var;          // [channels], unbiased, from 1
  torch::Tensor num_batches_tracked;  // int64 scalar

 protected:
  virtual torch::Tensor forward_training(const torch::Tensor& x, const StepContext& context,
                                         const Epilogue& then) = 0;

  void deposit(const torch::Tensor& mean, const torch::Tensor& unbiased_variance,
               int64_t rank_samples, const StepContext& context);

 private:
  torch::Tensor forward_then(const torch::Tensor& x, const StepContext& context,
                             const Epilogue& then) final;
  void collect(const torch::Tensor& x);

  double momentum_;
  torch::Tensor pending_mean_;
  torch::Tensor pending_var_;
  std::optional<Moments> collected_;
};

// Statistics of this rank's micro-batch.
class RankBatchNorm final : public BatchNorm {
 public:
  using BatchNorm::BatchNorm;

 private:
  torch::Tensor forward_training(const torch::Tensor& x, const StepContext& context,
                                 const Epilogue& then) override;
};

// Statistics of each `virtual_batch` consecutive samples of this rank's micro-batch; the last
// virtual batch may have fewer. Equals RankBatchNorm on as many ranks as there are virtual batches.
class GhostBatchNorm final : public BatchNorm {
 public:
  GhostBatchNorm(const NormOptions& options, int64_t channels);

 private:
  torch::Tensor forward_training(const torch::Tensor& x, const StepContext& context,
                                 const Epilogue& then) override;
  void deposit_sets(const SetStatistics& statistics, const torch::Tensor& x,
                    const StepContext& context);

  int64_t virtual_batch_;
};

// All layers with running statistics, in the order of the model's modules. The model owns them.
std::vector<BatchNorm*> batch_norms_of(torch::nn::Module& model);

}  // namespace largo::nn
