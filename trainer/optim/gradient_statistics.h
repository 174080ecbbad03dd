// What the gradients of micro-batches say about the noise in them: plain numbers.
//
// Sigma is the covariance of one sample's gradient and G the true gradient, so that the mean over b
// samples has E|g|^2 = |G|^2 + tr(Sigma)/b. McCandlish et al. 2018 (arXiv:1812.06162), appendix A.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace largo::optim {

// Of one step, over all ranks, before anything is done to the gradients; the same on every rank.
struct GradientSums {
  double squares = 0;         // sum over micro-batches of |g|^2, g the mean over its samples
  double mean_square = 0;     // |g|^2 of the mean over all samples
  int64_t samples = 0;        // all
  int64_t micro_batches = 0;  // of all ranks
  bool equal = true;          // each of them has samples / micro_batches samples
};

struct GradientEstimates {
  double mean_square = 0;  // of |G|^2; may be negative
  double variance = 0;     // of tr(Sigma); may be negative
};

// Unbiased, whatever the number of micro-batches, provided that their samples are drawn
// independently. None of a step with fewer than two micro-batches, with unequal ones, or with a sum
// that is not finite.
std::optional<GradientEstimates> estimate(const GradientSums& sums);

// B_simple = tr(Sigma) / |G|^2, in samples: the batch above which more samples begin to say the
// same again. Exponential averages of the two estimates over about the last 100 steps, and then
// their ratio: the average of ratios would be neither finite nor right.
class NoiseScale {
 public:
  void add(const GradientSums& sums);  // leaves out steps without an estimate

  // None before the first estimate, and while the average of |G|^2 is not above 0: the noise then
  // hides the gradient from so many samples.
  std::optional<double> value() const;

  std::string state() const;
  // Continues from a state(); throws Error{kBadData} for anything else.
  void restore(std::string_view state);

 private:
  int64_t steps_ = 0;
  // Both started from zero, and short of the average by one and the same factor: it cancels.
  double mean_square_ = 0;
  double variance_ = 0;
};

}  // namespace largo::optim
