#include "trainer/nn/batch_norm.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/nn/host_values.h"
#include "trainer/nn/sample_sets.h"

namespace largo::nn {

BatchNorm::BatchNorm(const NormOptions& options, int64_t channels)
    : Norm(options, channels),
      running_mean(register_buffer("running_mean", torch::zeros({channels}))),
      running_var(register_buffer("running_var", torch::ones({channels}))),
      num_batches_tracked(register_buffer("num_batches_tracked", torch::zeros({}, torch::kInt64))),
      momentum_(options.momentum) {}

torch::Tensor BatchNorm::forward_then(const torch::Tensor& x, const StepContext& context,
                                      const Epilogue& then) {
  if (context.training) {
    if (collected_) collect(x);
    return forward_training(x, context, then);
  }
  if (x.size(0) == 0) return follow(forward_empty(x), then);
  if (fuses(x)) return fused_affine(x, running_mean, running_var, weight, bias, epsilon(), then);
  return follow(at::batch_norm(x, weight, bias, running_mean, running_var, /*training=*/false,
                               momentum_, epsilon(), /*cudnn_enabled=*/true),
                then);
}

void BatchNorm::deposit_into(torch::Tensor mean, torch::Tensor variance) {
  pending_mean_ = std::move(mean);
  pending_var_ = std::move(variance);
}

void BatchNorm::deposit(const torch::Tensor& mean, const torch::Tensor& unbiased_variance,
                        int64_t rank_samples, const StepContext& context) {
  if (collected_ || !pending_mean_.defined() || rank_samples == 0) return;
  LARGO_CHECK(context.step_samples >= rank_samples, "a step of ", context.step_samples,
              " samples has a micro-batch of ", rank_samples);
  const torch::NoGradGuard no_grad;
  const double share =
      static_cast<double>(rank_samples) / static_cast<double>(context.step_samples);
  pending_mean_.add_(mean, share);
  pending_var_.add_(unbiased_variance, share);
}

void BatchNorm::update_running(std::span<BatchNorm* const> layers) {
  const torch::NoGradGuard no_grad;
  std::map<double, std::array<std::vector<torch::Tensor>, 2>> by_momentum;  // buffers, deposits
  std::vector<torch::Tensor> batches;
  for (const BatchNorm* const layer : layers) {
    LARGO_CHECK(layer->pending_mean_.defined(), "nothing was deposited");
    auto& [buffers, deposits] = by_momentum[layer->momentum_];
    buffers.insert(buffers.end(), {layer->running_mean, layer->running_var});
    deposits.insert(deposits.end(), {layer->pending_mean_, layer->pending_var_});
    batches.push_back(layer->num_batches_tracked);
  }
  for (const auto& [momentum, tensors] : by_momentum) {
    at::_foreach_lerp_(tensors[0], tensors[1], momentum);
  }
  if (!batches.empty()) at::_foreach_add_(batches, 1);
}

void BatchNorm::start_collecting() {
  const torch::Tensor zeros = torch::zeros_like(running_mean, torch::kFloat64);
  collected_ = Moments{.count = 0, .mean = zeros, .variance = zeros};
}

void BatchNorm::collect(const torch::Tensor& x) {
  const torch::NoGradGuard no_grad;
  const Moments more = moments_of(x);
  const std::array<int64_t, 2> counts = {collected_->count, more.count};
  collected_ = pool(counts, torch::stack({collected_->mean, more.mean}),
                    torch::stack({collected_->variance, more.variance}));
}

Moments BatchNorm::stop_collecting() {
  LARGO_CHECK(collected_.has_value(), "collecting was not started");
  return *std::exchange(collected_, std::nullopt);
}

void BatchNorm::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  Norm::to(device, dtype, non_blocking);
  num_batches_tracked.set_data(num_batches_tracked.to(torch::kInt64));
}

void BatchNorm::to(torch::Dtype dtype, bool non_blocking) {
  Norm::to(dtype, non_blocking);
  num_batches_tracked.set_data(num_batches_tracked.to(torch::kInt64));
}

torch::Tensor RankBatchNorm::forward_training(const torch::Tensor& x, const StepContext& context,
                                              const Epilogue& then) {
  if (x.size(0) == 0) return follow(forward_empty(x), then);
  if (fuses(x)) {
    const SetStatistics statistics = fused_statistics(x, x.size(0));
    deposit(statistics.mean[0], statistics.variance[0] * unbiased_factor(statistics.counts[0]),
            x.size(0), context);
    return fused_normalize(x, x.size(0), statistics, weight, bias, epsilon(), then);
  }
  // With momentum 1 the kernel leaves the batch's own mean and unbiased variance in these.
  const torch::Tensor mean = torch::zeros_like(running_mean);
  const torch::Tensor variance = torch::zeros_like(running_mean);
  const torch::Tensor y = at::batch_norm(x, weight, bias, mean, variance, /*training=*/true,
                                         /*momentum=*/1, epsilon(), /*cudnn_enabled=*/true);
  const bool one_value = x.numel() == x.size(1);  // whose unbiased variance is 0 / 0
  deposit(mean, one_value ? torch::zeros_like(variance) : variance, x.size(0), context);
  return follow(y, then);
}

GhostBatchNorm::GhostBatchNorm(const NormOptions& options, int64_t channels)
    : BatchNorm(options, channels), virtual_batch_(options.virtual_batch) {}

torch::Tensor GhostBatchNorm::forward_training(const torch::Tensor& x, const StepContext& context,
                                               const Epilogue& then) {
  if (x.size(0) == 0) return follow(forward_empty(x), then);
  if (fuses(x)) {
    const SetStatistics statistics = fused_statistics(x, virtual_batch_);
    deposit_sets(statistics, x, context);
    return fused_normalize(x, virtual_batch_, statistics, weight, bias, epsilon(), then);
  }
  const SampleSets sets = make_sets(x, virtual_batch_);
  deposit_sets(sets.statistics, x, context);
  return follow(normalize(x, sets, sets.statistics, weight, bias, epsilon()), then);
}

void GhostBatchNorm::deposit_sets(const SetStatistics& statistics, const torch::Tensor& x,
                                  const StepContext& context) {
  // The mean of the virtual batches' statistics, by their samples.
  std::vector<double> mean_shares, variance_shares;
  for (const int64_t count : statistics.counts) {
    mean_shares.push_back(static_cast<double>(count * x.size(1)) / static_cast<double>(x.numel()));
    variance_shares.push_back(mean_shares.back() * unbiased_factor(count));
  }
  const auto weighted = [&](const std::vector<double>& shares, const torch::Tensor& values) {
    return host_values(shares, x.device()).matmul(values);
  };
  deposit(weighted(mean_shares, statistics.mean), weighted(variance_shares, statistics.variance),
          x.size(0), context);
}

std::vector<BatchNorm*> batch_norms_of(torch::nn::Module& model) {
  std::vector<BatchNorm*> layers;
  for (const auto& module : model.modules(/*include_self=*/false)) {
    if (auto* const layer = dynamic_cast<BatchNorm*>(module.get())) layers.push_back(layer);
  }
  return layers;
}

}  // namespace largo::nn
