#include "trainer/evaluate.h"

#include <torch/torch.h>

#include "comm/base/as_agreed.h"
#include "comm/base/error.h"
#include "trainer/batch_plan.h"
#include "trainer/nn/autocast.h"
#include "trainer/nn/loss.h"

namespace largo {

EvalResult evaluate(nn::Model& model, const data::Dataset& set, const data::Transform& transform,
                    int64_t batch, int64_t workers, comm::Communicator& world,
                    data::SkippedSamples* skipped, const Compute& compute) {
  const torch::NoGradGuard no_grad;  // not InferenceMode: communication threads write these tensors
  const SampleSpan mine = split_evenly({0, set.size()}, world.size(), world.rank());
  const int64_t batches = (mine.count + batch - 1) / batch;
  data::BatchFeed feed(set, transform, workers,
                       data::consecutive_samples(mine.first, mine.count, batch), 0, batches,
                       skipped, compute.device, compute.resident);

  const int64_t skipped_before = skipped ? skipped->total() : 0;
  torch::Tensor scores =
      torch::zeros({5}, torch::TensorOptions(compute.device).dtype(torch::kDouble));
  const nn::StepContext context;  // eval mode: nothing of a step
  for (int64_t b = 0; b < batches; ++b) {
    const data::Batch samples = feed.next();
    const nn::Autocast autocast(compute.device.type(), compute.autocast);
    scores += nn::EvalSums::of(model.forward(samples.images, context), samples.labels);
  }
  torch::Tensor sums = torch::cat({scores.cpu(), torch::zeros({1}, torch::kDouble)});
  if (skipped) sums[5] = skipped->total() - skipped_before;
  world.all_reduce(sums).wait();
  as_agreed([&] { data::check_skipped(sums[5].item<int64_t>(), set.size()); });
  const nn::EvalSums total = nn::EvalSums::from(sums.narrow(0, 0, 5));
  LARGO_CHECK(total.samples == static_cast<double>(set.size()), total.samples,
              " samples were scored of a set of ", set.size());
  return {.samples = set.size(),
          .loss = total.loss / total.samples,
          .top1 = total.top1 / total.samples,
          .top5 = total.top5 / total.samples,
          .confidence = total.top1 > 0 ? total.confidence / total.top1 : 0};
}

}  // namespace largo
