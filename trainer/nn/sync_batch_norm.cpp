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

torch::Tensor SyncBatchNorm::forward_training(const torch::Tensor& x, const StepContext& context) {
  const auto samples = context.samples_per_rank;
  LARGO_CHECK(static_cast<int>(samples.size()) == group_.size(), samples.size(),
              " sample counts for ", group_.size(), " ranks");
  LARGO_CHECK(samples[group_.rank()] == x.size(0), "the plan says ", samples[group_.rank()],
              " samples, the micro-batch has ", x.size(0));
  std::vector<int64_t> counts;
  for (const int64_t count : samples) counts.push_back(count * x.size(2) * x.size(3));
  if (std::ranges::all_of(counts, [](int64_t count) { return count == 0; })) {
    return forward_empty(x);
  }

  if (!x.is_cpu()) {
    const auto [y, moments] =
        synchronized_norm(cuda_batch_norm_kernels(), x, counts, weight, bias, epsilon(), group_);
    deposit(moments.mean, moments.variance * unbiased_factor(moments.count), x.size(0), context);
    return y;
  }
  const SampleSets mine = make_sets(x, std::max<int64_t>(1, x.size(0)));
  const torch::Tensor all = group_.all_gather(
      torch::cat({mine.statistics.mean, mine.statistics.variance}));  // [ranks, 2, channels]
  const Moments pooled = pool(counts, all.select(1, 0), all.select(1, 1));
  deposit(pooled.mean, pooled.variance * unbiased_factor(pooled.count), x.size(0), context);
  return normalize(x, mine,
                   {.mean = pooled.mean.unsqueeze(0),
                    .variance = pooled.variance.unsqueeze(0),
                    .counts = {pooled.count},
                    .group = &group_},
                   weight, bias, epsilon());
}

}  // namespace largo::nn
