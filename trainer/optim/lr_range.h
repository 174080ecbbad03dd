// Learning-rate range test (Smith 2015; fastai's finder): which LRs are tried, when the test is
// over, and what its losses say. Pure: the same numbers give the same answer on every rank.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace largo::optim {

enum class RampKind { kExponential, kLinear };

struct Ramp {
  RampKind kind = RampKind::kExponential;
  double from = 0;  // > 0
  double to = 0;    // > from; where step `steps` would be: the last one trained is just below
  int64_t steps = 100;

  // exponential: from (to / from)^(i / n); linear: from + (to - from) i / n
  double lr(int64_t step) const;
};

// The LRs worth trying with an optimizer, by its name in a run file.
Ramp usual_ramp(const std::string& optimizer);

struct RangePoint {
  double lr = 0;
  double loss = 0;      // mean over the step's global batch, before its update
  double smoothed = 0;  // debiased exponential moving average, beta 0.98
  double top1 = 0;      // part of the batch that was right, before the update
};

class RangeTest {
 public:
  enum class End {
    kWhole,      // all steps, or not yet over
    kDiverged,   // smoothed loss > 4 times its least, after the first tenth of the steps
    kNotFinite,  // the loss of the step after the last point
  };

  explicit RangeTest(const Ramp& ramp) : ramp_(ramp) {}

  // The next step's numbers; says whether a further step is to be trained.
  bool add(double loss, double top1);

  const Ramp& ramp() const { return ramp_; }
  const std::vector<RangePoint>& points() const { return points_; }
  End end() const { return end_; }

  // The points that suggestions are made from: without the first tenth of the ramp's steps and the
  // last 5 points; where the loss became NaN, up to there (and without the ramp's last 5 steps).
  std::span<const RangePoint> kept() const;

 private:
  Ramp ramp_;
  std::vector<RangePoint> points_;
  End end_ = End::kWhole;
  double average_ = 0;  // not debiased
  double weight_ = 0;   // of the points in average_
  double least_ = 0;
};

// A number, or a sentence that says why there is none.
struct Suggestion {
  std::optional<double> lr;
  std::string why_not;
};

enum class SuggestionKind { kValley, kSteepest, kMinimum, kSlide };
inline constexpr std::array<SuggestionKind, 4> kSuggestionKinds = {
    SuggestionKind::kValley, SuggestionKind::kSteepest, SuggestionKind::kMinimum,
    SuggestionKind::kSlide};
std::string word_of(SuggestionKind kind);

// What fastai's functions of these names give for the kept points' smoothed losses, within the
// tested range. No suggestion at all where the loss did not fall: by no more than the standard
// deviation between batches, which the differences of successive losses tell.
Suggestion suggest(SuggestionKind kind, const RangeTest& test);

// The functions themselves, of at least one point each, all finite; indices into the points.
//
// Two thirds of the way (a third, and half a third) into the longest run of points, not necessarily
// neighbours, whose losses fall strictly; `start` may be one before the first, as published. In
// n log n steps for n points.
size_t valley(std::span<const double> losses);
// Where the loss falls fastest with the logarithm of the LR; of two points or more.
size_t steepest(std::span<const double> lrs, std::span<const double> losses);
// A pair of places 15 apart slides from the end to lower LRs while the loss's slopes at the two
// differ by more than 0.005: its lower place at the end. None for fewer than 16 points.
std::optional<size_t> slide(std::span<const double> losses);

// Smith's own test, for a linear ramp: from where the accuracy starts to rise to where it becomes
// ragged or falls. The steps are cut into 20 windows, and a difference of their accuracies counts
// when it is above 0.02 and above 3 standard errors of so many samples (binomial).
//   low   first step of the first window above the lowest one before it
//   high  last step of the best window before the first that has fallen from it, or of the test
struct AccuracyRange {
  Suggestion low;
  Suggestion high;
  bool falls = false;  // no: high is where the test ended
};
AccuracyRange accuracy_range(const RangeTest& test, int64_t global_batch);

}  // namespace largo::optim
