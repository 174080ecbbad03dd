#include "trainer/optim/lr_range.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

constexpr double kBeta = 0.98;
constexpr double kDiverged = 4;
constexpr int64_t kLastPoints = 5;
constexpr size_t kFewest = 3;  // points that a valley can be cut into thirds of
constexpr size_t kSlideSteps = 15;
constexpr double kSlideSlope = 0.005;
constexpr double kRounding = 1e-6;  // of a loss that stays the same

int64_t first_kept(const Ramp& ramp) { return ramp.steps / 10; }

std::vector<double> smoothed_of(std::span<const RangePoint> points) {
  std::vector<double> losses;
  losses.reserve(points.size());
  for (const RangePoint& point : points) losses.push_back(point.smoothed);
  return losses;
}

std::vector<double> lrs_of(std::span<const RangePoint> points) {
  std::vector<double> lrs;
  lrs.reserve(points.size());
  for (const RangePoint& point : points) lrs.push_back(point.lr);
  return lrs;
}

size_t least(std::span<const double> values) {
  return static_cast<size_t>(
      std::distance(values.begin(), std::min_element(values.begin(), values.end())));
}

// Of one batch's loss, from the differences of successive ones: a trend hardly matters, and the
// median does not mind a few outliers. 0.954 is that of |a - b| for two of standard deviation 1.
double spread_between_batches(std::span<const RangePoint> points) {
  std::vector<double> steps;
  steps.reserve(points.size());
  for (size_t i = 1; i < points.size(); ++i) {
    steps.push_back(std::abs(points[i].loss - points[i - 1].loss));
  }
  if (steps.empty()) return 0;
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::nth_element(steps.begin(), middle, steps.end());
  return *middle / 0.954;
}

std::string why_over(const RangeTest& test) {
  const auto trained = static_cast<int64_t>(test.points().size());
  switch (test.end()) {
    case RangeTest::End::kNotFinite:
      return concat("the loss is not finite from step ", trained, " on (LR ",
                    test.ramp().lr(trained), ")");
    case RangeTest::End::kDiverged:
      return concat("the loss diverged within ", trained, " steps (LR ", test.points().back().lr,
                    ")");
    case RangeTest::End::kWhole:
      return concat(trained, " steps were trained");
  }
  return {};
}

// Empty where the losses allow a suggestion.
std::string why_none(const RangeTest& test) {
  if (test.points().empty()) {
    return "the loss of the first step is not finite, before any update: no learning rate has a "
           "part in that; look at the data, the model and train.precision";
  }
  const std::span<const RangePoint> kept = test.kept();
  if (kept.size() < kFewest) {
    const char* cure =
        test.end() == RangeTest::End::kWhole ? "train more --steps" : "start with a lower --from";
    return concat(why_over(test), ", and without the first ", first_kept(test.ramp()),
                  " and the last ", kLastPoints, " too few are left to judge; ", cure);
  }
  const std::vector<double> losses = smoothed_of(kept);
  const size_t lowest = least(losses);
  const double fall = losses.front() - losses[lowest];
  const size_t before = static_cast<size_t>(first_kept(test.ramp())) + lowest + 1;
  const double spread = spread_between_batches(std::span(test.points()).first(before));
  if (fall > std::max(spread, kRounding * std::abs(losses.front()))) return {};
  const bool rises = losses.back() - losses.front() > spread;
  return concat("the loss does not fall between LR ", kept.front().lr, " and ", kept.back().lr,
                ": at most by ", fall, " from ", losses.front(), ", which is within the spread ",
                spread, " between batches; ",
                rises ? "it rises: start with a lower --from" : "try a higher --to");
}

}  // namespace

double Ramp::lr(int64_t step) const {
  const double part = static_cast<double>(step) / static_cast<double>(steps);
  return kind == RampKind::kLinear ? from + (to - from) * part : from * std::pow(to / from, part);
}

// Three decades or more on either side of what the optimizer is used with:
Ramp usual_ramp(const std::string& optimizer) {
  const auto between = [](double from, double to) { return Ramp{.from = from, .to = to}; };
  if (optimizer == "lars") return between(1e-3, 100);      // 7 to 31 (MLPerf): of a 1/1000 of |w|
  if (optimizer == "lamb") return between(1e-5, 10);       // 1e-3 to 4e-2 (You et al.), of |w|
  if (optimizer == "adadelta") return between(1e-3, 100);  // 1: its steps have their own scale
  if (optimizer == "adagrad") return between(1e-5, 10);    // 0.01, divided by a sum that grows
  if (optimizer == "lion") return between(1e-8, 0.1);      // 3 to 10 times below Adam's
  const bool per_weight = optimizer == "adam" || optimizer == "adamw" || optimizer == "rmsprop";
  if (per_weight) return between(1e-7, 1);  // 1e-3: the size of a weight's step
  return between(1e-5, 10);                 // SGD: 0.01 to 3.2 (Goyal)
}

bool RangeTest::add(double loss, double top1) {
  if (!std::isfinite(loss)) {
    end_ = End::kNotFinite;
    return false;
  }
  average_ = kBeta * average_ + (1 - kBeta) * loss;
  weight_ = kBeta * weight_ + (1 - kBeta);
  const double smoothed = average_ / weight_;
  const auto step = static_cast<int64_t>(points_.size());
  points_.push_back({.lr = ramp_.lr(step), .loss = loss, .smoothed = smoothed, .top1 = top1});
  if (step == 0 || smoothed < least_) least_ = smoothed;
  if (smoothed > kDiverged * least_ && step >= first_kept(ramp_)) {
    end_ = End::kDiverged;
    return false;
  }
  return step + 1 < ramp_.steps;
}

std::span<const RangePoint> RangeTest::kept() const {
  const auto count = static_cast<int64_t>(points_.size());
  const int64_t first = first_kept(ramp_);
  const int64_t last =
      end_ == End::kNotFinite ? std::min(count, ramp_.steps - kLastPoints) : count - kLastPoints;
  if (last <= first) return {};
  return std::span(points_).subspan(static_cast<size_t>(first), static_cast<size_t>(last - first));
}

std::string word_of(SuggestionKind kind) {
  constexpr std::array<const char*, 4> kWords = {"valley", "steepest", "minimum", "slide"};
  return kWords[static_cast<size_t>(kind)];
}

Suggestion suggest(SuggestionKind kind, const RangeTest& test) {
  if (std::string none = why_none(test); !none.empty()) return {{}, std::move(none)};
  const std::span<const RangePoint> kept = test.kept();
  const std::vector<double> losses = smoothed_of(kept);
  const std::vector<double> lrs = lrs_of(kept);
  switch (kind) {
    case SuggestionKind::kValley:
      return {lrs[valley(losses)], {}};
    case SuggestionKind::kSteepest:
      return {lrs[steepest(lrs, losses)], {}};
    case SuggestionKind::kMinimum:
      return {std::max(lrs[least(losses)] / 10, test.ramp().from), {}};
    case SuggestionKind::kSlide:
      if (const auto at = slide(losses)) return {lrs[*at], {}};
      return {{},
              concat("slide needs ", kSlideSteps + 1, " points; ", losses.size(),
                     " are left without the first and last ones")};
  }
  return {};
}

size_t valley(std::span<const double> losses) {
  // lasts[k]: the highest loss that a falling run of k + 1 points so far ends with; falls with k.
  std::vector<double> lasts;
  lasts.reserve(losses.size());
  size_t end = 0;  // where the longest run first ends
  for (size_t i = 0; i < losses.size(); ++i) {
    // The longest run that losses[i] can go on: it becomes the end of one that is a point longer.
    const auto place = std::lower_bound(lasts.begin(), lasts.end(), losses[i], std::greater<>());
    if (place == lasts.end()) {
      lasts.push_back(losses[i]);
      end = i;
    } else {
      *place = losses[i];
    }
  }
  if (end == 0) return 0;
  const auto length = static_cast<int64_t>(lasts.size());
  const int64_t start = static_cast<int64_t>(end) - length;
  const double third = static_cast<double>(length) / 3;
  const int64_t index = start + static_cast<int64_t>(third) + static_cast<int64_t>(third / 2);
  return static_cast<size_t>(std::max<int64_t>(index, 0));
}

size_t steepest(std::span<const double> lrs, std::span<const double> losses) {
  size_t best = 0;
  double least_slope = 0;
  for (size_t i = 0; i + 1 < losses.size(); ++i) {
    const double slope = (losses[i + 1] - losses[i]) / (std::log(lrs[i + 1]) - std::log(lrs[i]));
    if (i == 0 || slope < least_slope) {
      least_slope = slope;
      best = i;
    }
  }
  return best;
}

std::optional<size_t> slide(std::span<const double> losses) {
  const size_t count = losses.size();
  if (count <= kSlideSteps) return std::nullopt;
  const auto slope = [&](size_t i) {
    if (i == 0) return losses[1] - losses[0];
    if (i + 1 == count) return losses[i] - losses[i - 1];
    return (losses[i + 1] - losses[i - 1]) / 2;
  };
  size_t right = count - 1;
  size_t answer = right - kSlideSteps;
  while (right >= kSlideSteps &&
         std::abs(slope(right) - slope(right - kSlideSteps)) > kSlideSlope) {
    answer = right - kSlideSteps;
    --right;
  }
  return answer;
}

AccuracyRange accuracy_range(const RangeTest& test, int64_t global_batch) {
  constexpr int64_t kWindows = 20;
  const int64_t width = std::max<int64_t>(1, test.ramp().steps / kWindows);
  std::vector<double> accuracy;  // of each window; steps at the end that fill none are left out
  const std::span<const RangePoint> points = test.points();
  const auto in_window = static_cast<size_t>(width);
  accuracy.reserve(points.size() / in_window);
  for (size_t first = 0; first + in_window <= points.size(); first += in_window) {
    double sum = 0;
    for (const RangePoint& point : points.subspan(first, in_window)) sum += point.top1;
    accuracy.push_back(sum / static_cast<double>(width));
  }
  const auto samples = static_cast<double>(width * global_batch);
  const auto above = [&](double a, double b) {
    const double error = std::sqrt((a * (1 - a) + b * (1 - b)) / samples);
    return a - b > std::max(0.02, 3 * error);
  };

  std::optional<size_t> rise;
  double lowest = 1;
  for (size_t w = 0; w < accuracy.size() && !rise; ++w) {
    if (above(accuracy[w], lowest)) rise = w;
    lowest = std::min(lowest, accuracy[w]);
  }
  if (!rise) {
    const bool whole = test.end() == RangeTest::End::kWhole;
    const std::string why = concat(
        "the accuracy does not rise between LR ", test.ramp().from, " and ",
        test.ramp().lr(static_cast<int64_t>(points.size())),
        ": no twentieth of the ramp is above the ones before it by more than chance, and ",
        why_over(test),
        whole ? "; try a higher --to or more --steps" : "; try a lower --to or more --steps");
    return {.low = {{}, why}, .high = {{}, why}};
  }
  size_t best = *rise;
  bool falls = false;
  for (size_t w = *rise + 1; w < accuracy.size() && !falls; ++w) {
    if (accuracy[w] > accuracy[best]) best = w;
    falls = above(accuracy[best], accuracy[w]);
  }
  const size_t last = falls ? (best + 1) * in_window - 1 : accuracy.size() * in_window - 1;
  return {.low = {points[*rise * in_window].lr, {}}, .high = {points[last].lr, {}}, .falls = falls};
}

}  // namespace largo::optim
