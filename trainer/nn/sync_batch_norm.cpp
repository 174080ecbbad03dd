#include "trainer/nn/sync_batch_norm.h"

#include <algorithm>
#include <vector>

#include "comm/base/error.h"
#include "trainer/nn/batch_norm_kernels.h"
#include "trainer/nn/sample_sets.h"
#include "trainer/nn/synchronized_norm.h"

namespace largo::nn {

SyncBatchNorm::SyncBatchNorm(const NormOptions& options, int64_t channels,
                             comm::Communicator& group)
    : BatchNorm(options, channels), group_(group) {}

torch::Tensor SyncBatchNorm::forward_training(const torch::Tensor& x, const StepContext& context,
                                              const Epilogue& then) {
  const auto samples = context.samples_per_rank;
  LARGO_CHECK(static_cast<int>(samples.size()) == group_.size(), samples.size(),
              " sample counts for ", group_.size(), " ranks");
  LARGO_CHECK(samples[group_.rank()] == x.size(0), "the plan says ", samples[group_.rank()],
              " samples, the micro-batch has ", x.size(0));
  std::vector<int64_t> counts;
  for (const int64_t count : samples) counts.push_back(count * x.size(2) * x.size(3));
  if (std::ranges::all_of(counts, [](int64_t count) { return count == 0; })) {
    return follow(forward_empty(x), then);
  }

  if (!x.is_cpu()) {
    const auto [y, moments] =
        synchronized_norm(cuda_batch_norm_kernels(), x, counts, weight, bias, epsilon(), group_);
    deposit(moments.mean, moments.variance * unbiased_factor(moments.count), x.size(0), context);
    return follow(y, then);
  }
  const int64_t set_samples = std::max<int64_t>(1, x.size(0));
  if (fuses(x)) {
    const SetStatistics pooled = over_group(fused_statistics(x, set_samples), counts, x, context);
    return fused_normalize(x, set_samples, pooled, weight, bias, epsilon(), then);
  }
  const SampleSets mine = make_sets(x, set_samples);
  const SetStatistics pooled = over_group(mine.statistics, counts, x, context);
  return follow(normalize(x, mine, pooled, weight, bias, epsilon()), then);
}

SetStatistics SyncBatchNorm::over_group(const SetStatistics& mine, std::span<const int64_t> counts,
                                        const torch::Tensor& x, const StepContext& context) {
  const torch::Tensor all =
      group_.all_gather(torch::cat({mine.mean, mine.variance}));  // [ranks, 2, channels]
  const Moments pooled = pool(counts, all.select(1, 0), all.select(1, 1));
  deposit(pooled.mean, pooled.variance * unbiased_factor(pooled.count), x.size(0), context);
  return {.mean = pooled.mean.unsqueeze(0),
          .variance = pooled.variance.unsqueeze(0),
          .counts = {pooled.count},
          .group = &group_};
}

}  // namespace largo::nn
