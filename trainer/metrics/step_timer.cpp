#include "trainer/metrics/step_timer.h"

#include <algorithm>
#include <cmath>

namespace largo::metrics {
namespace {

// The quantile of sorted values, linear between neighbours; `values` must not be empty.
double quantile(const std::vector<double>& values, double fraction) {
  const double place = fraction * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, values.size() - 1);
  const double weight = place - static_cast<double>(below);
  return values[below] + weight * (values[above] - values[below]);
}

template <class Steps, class Pick>
std::vector<double> sorted(const Steps& steps, Pick pick) {
  std::vector<double> values;
  values.reserve(steps.size());
  for (const auto& step : steps) values.push_back(pick(step));
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

void StepTimer::add(Phase phase, double seconds) {
  current_.phases[static_cast<size_t>(phase)] += seconds;
}

void StepTimer::end_step(double seconds) {
  current_.total = seconds;
  if (static_cast<int64_t>(warmup_.size()) < kWarmupSteps) {
    warmup_.push_back(current_);
  } else {
    if (seen_ % stride_ == 0) steps_.push_back(current_);
    ++seen_;
    if (steps_.size() == kCapacity) {
      for (size_t i = 0; i < kCapacity / 2; ++i) steps_[i] = steps_[2 * i];
      steps_.resize(kCapacity / 2);
      stride_ *= 2;
    }
  }
  current_ = {};
}

void StepTimer::add_logging(double seconds) {
  if (++logged_ > kWarmupSteps) logging_s_ += seconds;
}

std::vector<StepTimer::Step> StepTimer::measured() const {
  if (!steps_.empty()) return steps_;
  return {warmup_.begin() + static_cast<std::ptrdiff_t>(warmup_.size() / 2), warmup_.end()};
}

StepTimes StepTimer::times() const {
  const auto steps = measured();
  if (steps.empty()) return {};
  const auto median = [&](Phase phase) {
    return quantile(
        sorted(steps, [&](const Step& s) { return s.phases[static_cast<size_t>(phase)]; }), 0.5);
  };
  const auto totals = sorted(steps, [](const Step& step) { return step.total; });
  return {.data = median(Phase::kData),
          .forward = median(Phase::kForward),
          .backward = median(Phase::kBackward),
          .exposed_comm = median(Phase::kExposedComm),
          .gradient_sums = median(Phase::kGradientSums),
          .optimizer = median(Phase::kOptimizer),
          .logging =
              logged_ > kWarmupSteps ? logging_s_ / static_cast<double>(logged_ - kWarmupSteps) : 0,
          .p5 = quantile(totals, 0.05),
          .p50 = quantile(totals, 0.5),
          .p95 = quantile(totals, 0.95)};
}

double StepTimer::samples_per_s(int64_t global_batch) const {
  const double median = times().p50;
  return median > 0 ? static_cast<double>(global_batch) / median : 0;
}

}  // namespace largo::metrics
