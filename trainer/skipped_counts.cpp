#include "trainer/skipped_counts.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "comm/base/error.h"

namespace largo {

std::vector<int64_t> skipped_by_epoch(const data::SkippedSamples& mine, const BatchPlan& plan,
                                      int64_t completed, comm::Communicator& world) {
  if (completed == 0) return {};
  const SampleSpan last = plan.slice(completed - 1);
  const auto epochs = static_cast<size_t>((last.first + last.count - 1) / plan.train_samples() + 1);
  std::vector<int64_t> counts = mine.trained_on();
  LARGO_CHECK(counts.size() <= epochs, "samples of epoch ", counts.size() - 1, " in one of ",
              epochs);
  counts.resize(epochs);
  at::Tensor sums = at::from_blob(counts.data(), {static_cast<int64_t>(epochs)}, at::kLong);
  world.all_reduce(sums).wait();
  if (std::all_of(counts.begin(), counts.end(), [](int64_t count) { return count == 0; })) {
    return {};
  }
  return counts;
}

}  // namespace largo
