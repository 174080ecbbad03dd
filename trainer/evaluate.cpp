#include "trainer/evaluate.h"

#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "comm/base/as_agreed.h"
#include "comm/base/error.h"
#include "trainer/batch_plan.h"
#include "trainer/nn/autocast.h"
#include "trainer/nn/loss.h"
#include "trainer/worker_sums.h"

namespace largo {

namespace {

struct PartBatch {
  SampleSpan samples;
  int64_t part = 0;  // of this rank's parts of the set
};

void cut_into_batches(SampleSpan samples, int64_t batch, int64_t part,
                      std::vector<PartBatch>& batches) {
  for (int64_t done = 0; done < samples.count; done += batch) {
    batches.push_back({{samples.first + done, std::min(batch, samples.count - done)}, part});
  }
}

}  // namespace

EvalResult evaluate(nn::Model& model, const data::Dataset& set, const data::Transform& transform,
                    int64_t batch, int64_t workers, comm::Communicator& world,
                    data::SkippedSamples* skipped, const Compute& compute,
                    int64_t virtual_workers) {
  const torch::NoGradGuard no_grad;  // not InferenceMode: communication threads write these tensors
  const bool by_worker = virtual_workers > 0;
  const int64_t parts = by_worker ? virtual_workers : world.size();
  const int64_t of_rank = parts / world.size();
  std::vector<PartBatch> batches;
  for (int64_t part = 0; part < of_rank; ++part) {
    cut_into_batches(split_evenly({0, set.size()}, parts, world.rank() * of_rank + part), batch,
                     part, batches);
  }
  const auto request = [&](int64_t number) {
    const SampleSpan& span = batches[static_cast<size_t>(number)].samples;
    return data::consecutive_samples(span.first, span.count, span.count)(0);
  };
  data::BatchFeed feed(set, transform, workers, request, 0, static_cast<int64_t>(batches.size()),
                       skipped, compute.device, compute.resident);

  const int64_t skipped_before = skipped ? skipped->total() : 0;
  torch::Tensor scores =
      torch::zeros({of_rank, 5}, torch::TensorOptions(compute.device).dtype(torch::kDouble));
  const nn::StepContext context;  // eval mode: nothing of a step
  for (const PartBatch& of_part : batches) {
    const data::Batch samples = feed.next();
    const nn::Autocast autocast(compute.device.type(), compute.autocast);
    scores[of_part.part] +=
        nn::EvalSums::of(model.forward(samples.images, context), samples.labels);
  }
  torch::Tensor bad = torch::zeros({of_rank, 1}, torch::kDouble);
  if (skipped) bad[0] = static_cast<double>(skipped->total() - skipped_before);
  const torch::Tensor rows = torch::cat({scores.cpu(), bad}, 1).t().contiguous();
  const torch::Tensor sums = sum_over_ranks(by_worker ? rows : rows.flatten(), by_worker, world);
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
