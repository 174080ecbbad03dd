// Batch normalization: running statistics, evaluation, and the kind with statistics per rank.
#pragma once

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

  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) final;

  // Where training forwards add their statistics, [channels] each; without a call they add none.
  void deposit_into(torch::Tensor mean, torch::Tensor variance);

  // buffer = (1 - momentum) * buffer + momentum * deposited; one more batch tracked.
  void update_running();

  // The count of batches stays an integer.
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  using torch::nn::Module::to;

  torch::Tensor running_mean;         // [channels], from 0
  torch::Tensor running_var;          // [channels], unbiased, from 1
  torch::Tensor num_batches_tracked;  // int64 scalar

 protected:
  virtual torch::Tensor forward_training(const torch::Tensor& x, const StepContext& context) = 0;

  void deposit(const torch::Tensor& mean, const torch::Tensor& unbiased_variance,
               int64_t rank_samples, const StepContext& context);

  double epsilon() const { return epsilon_; }

 private:
  double momentum_;
  double epsilon_;
  torch::Tensor pending_mean_;
  torch::Tensor pending_var_;
};

// Statistics of this rank's micro-batch.
class RankBatchNorm final : public BatchNorm {
 public:
  using BatchNorm::BatchNorm;

 private:
  torch::Tensor forward_training(const torch::Tensor& x, const StepContext& context) override;
};

}  // namespace largo::nn
