#include "trainer/nn/batch_norm.h"

#include <utility>

#include "comm/base/error.h"

namespace largo::nn {

BatchNorm::BatchNorm(const NormOptions& options, int64_t channels)
    : Norm(channels),
      running_mean(register_buffer("running_mean", torch::zeros({channels}))),
      running_var(register_buffer("running_var", torch::ones({channels}))),
      num_batches_tracked(register_buffer("num_batches_tracked", torch::zeros({}, torch::kInt64))),
      momentum_(options.momentum),
      epsilon_(options.epsilon) {}

torch::Tensor BatchNorm::forward(const torch::Tensor& x, const StepContext& context) {
  if (context.training) return forward_training(x, context);
  if (x.size(0) == 0) return forward_empty(x);
  return at::batch_norm(x, weight, bias, running_mean, running_var, /*training=*/false, momentum_,
                        epsilon_, /*cudnn_enabled=*/true);
}

void BatchNorm::deposit_into(torch::Tensor mean, torch::Tensor variance) {
  pending_mean_ = std::move(mean);
  pending_var_ = std::move(variance);
}

void BatchNorm::deposit(const torch::Tensor& mean, const torch::Tensor& unbiased_variance,
                        int64_t rank_samples, const StepContext& context) {
  if (!pending_mean_.defined() || rank_samples == 0) return;
  LARGO_CHECK(context.step_samples >= rank_samples, "a step of ", context.step_samples,
              " samples has a micro-batch of ", rank_samples);
  const torch::NoGradGuard no_grad;
  const double share =
      static_cast<double>(rank_samples) / static_cast<double>(context.step_samples);
  pending_mean_.add_(mean, share);
  pending_var_.add_(unbiased_variance, share);
}

void BatchNorm::update_running() {
  LARGO_CHECK(pending_mean_.defined(), "nothing was deposited");
  const torch::NoGradGuard no_grad;
  running_mean.lerp_(pending_mean_, momentum_);
  running_var.lerp_(pending_var_, momentum_);
  num_batches_tracked.add_(1);
}

void BatchNorm::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  Norm::to(device, dtype, non_blocking);
  num_batches_tracked.set_data(num_batches_tracked.to(torch::kInt64));
}

void BatchNorm::to(torch::Dtype dtype, bool non_blocking) {
  Norm::to(dtype, non_blocking);
  num_batches_tracked.set_data(num_batches_tracked.to(torch::kInt64));
}

torch::Tensor RankBatchNorm::forward_training(const torch::Tensor& x, const StepContext& context) {
  if (x.size(0) == 0) return forward_empty(x);
  // With momentum 1 the kernel leaves the batch's own mean and unbiased variance in these.
  const torch::Tensor statistics = torch::zeros({2, x.size(1)}, running_mean.options());
  const torch::Tensor mean = statistics[0];
  const torch::Tensor variance = statistics[1];
  const torch::Tensor y = at::batch_norm(x, weight, bias, mean, variance, /*training=*/true,
                                         /*momentum=*/1, epsilon(), /*cudnn_enabled=*/true);
  const bool one_value = x.numel() == x.size(1);  // whose unbiased variance is 0 / 0
  deposit(mean, one_value ? torch::zeros_like(variance) : variance, x.size(0), context);
  return y;
}

}  // namespace largo::nn
