#include "trainer/gradient_monitor.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "comm/base/error.h"

namespace largo {

namespace {

constexpr int64_t kRows = 256;  // of a piece

// `who` asks for the noise.
std::string no_noise(const std::string& who, const BatchPlan& plan) {
  const int64_t parts = plan.world() * plan.accumulation();
  if (parts == 1) {
    return concat(who, " compares micro-batches, of which a step has only one, of ",
                  plan.global_batch(),
                  " samples; legal: several ranks (largo lr and config check: --ranks N), or "
                  "batch.max_micro: ",
                  std::max<int64_t>(plan.global_batch() / 2, 1), " or less");
  }
  return concat(who, " compares micro-batches of one size, but ", plan.describe(),
                " makes unequal ones; legal: a global batch that is a multiple of ", parts);
}

}  // namespace

bool shows_noise(const BatchPlan& plan) {
  const int64_t parts = plan.world() * plan.accumulation();
  return parts > 1 && plan.global_batch() % parts == 0;
}

std::vector<OptionProblem> check_gradient_statistics(const TrainOptions& train,
                                                     const optim::LrOptions& lr,
                                                     const BatchPlan& plan) {
  const bool adascale = lr.scaling == optim::ScalingRule::kAdaScale;
  std::vector<OptionProblem> problems;
  if (!shows_noise(plan)) {
    if (train.noise_scale == NoiseScaleWish::kOn) {
      problems.push_back({"train.noise_scale", no_noise("on", plan)});
    }
    if (adascale) problems.push_back({"lr.scaling", no_noise("adascale", plan)});
  }
  if (adascale && train.last_batch == LastBatch::kKeep &&
      plan.train_samples() % plan.global_batch() != 0) {
    problems.push_back(
        {"train.last_batch",
         concat("keep ends every epoch with a step of ", plan.train_samples() % plan.global_batch(),
                " samples, but adascale's gain is that of steps of ", plan.global_batch(),
                "; legal: drop, wrap")});
  }
  return problems;
}

void GradientMonitor::add(int64_t step, const at::Tensor& squares, const at::Tensor& norm) {
  const auto count = static_cast<int64_t>(steps_.size());
  if (count == static_cast<int64_t>(rows_.size()) * kRows) {
    rows_.push_back(at::empty({kRows, 2}, norm.options().dtype(at::kDouble)));
  }
  const at::Tensor& rows = rows_[static_cast<size_t>(count / kRows)];
  if (rows.is_cpu()) {  // without the cost of views, which a small net's step feels
    double* const row = rows.mutable_data_ptr<double>() + 2 * (count % kRows);
    row[0] = squares.item<double>();
    row[1] = norm.item<double>();
  } else {
    const at::Tensor row = rows.select(0, count % kRows);
    row.narrow(0, 0, 1).copy_(squares);
    row.narrow(0, 1, 1).copy_(norm);
  }
  steps_.push_back(step);
}

void GradientMonitor::collect() {
  const int64_t parts = plan_.world() * plan_.accumulation();
  for (size_t first = 0; first < steps_.size(); first += kRows) {
    const at::Tensor rows = rows_[first / kRows].cpu();
    const double* const values = rows.const_data_ptr<double>();
    for (size_t i = first; i < std::min(first + kRows, steps_.size()); ++i) {
      const double* const row = values + 2 * (i - first);
      const int64_t samples = plan_.samples_in_step(steps_[i]);
      const optim::GradientSums sums = {.squares = row[0],
                                        .mean_square = row[1] * row[1],
                                        .samples = samples,
                                        .micro_batches = parts,
                                        .equal = samples % parts == 0};
      noise_scale_.add(sums);
      lr_.observe_gradient(steps_[i], sums);
    }
  }
  steps_.clear();
  if (rows_.size() > 1) rows_.resize(1);
}

}  // namespace largo
