// AdaScale SGD: Johnson et al. 2020 (arXiv:2007.05105).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "trainer/optim/gradient_statistics.h"
#include "trainer/optim/lr_controller.h"
#include "trainer/optim/lr_schedule.h"

namespace largo::optim {

// What one step of `scale` base batches gains on one of a single base batch: from 1, where the
// gradient has no noise, to `scale`, where it is nothing but noise. `variance` is of the gradient
// of one base batch, > 0; `mean_square` is |G|^2, >= 0.
double adascale_gain(double variance, double mean_square, double scale);

// A run of `base_steps` steps at the base batch takes from `least` to `most` steps of `scale` base
// batches.
struct StepBounds {
  int64_t least = 0;
  int64_t most = 0;
};
StepBounds adascale_bounds(int64_t base_steps, double scale);

// One base-batch step's worth of progress at a time: the clock tau grows by the gain r of every
// step, whose LR is r x schedule(floor(tau)); training is done when tau reaches the run's length at
// base_batch. r follows from running averages over the steps before (1 in the first one), so that a
// step's noise does not choose its own LR: variance clipped to >= 1e-6 and |G|^2 to >= 0 before
// averaging, plain means of the past at first and later exponential ones of theta = 1 - scale/1000.
//
// The gradients of the S = scale base batches of a step are known through its micro-batches,
// however many there are and on whatever ranks (estimate()), so that S alone decides, not the
// world. Steps without an estimate leave r as it is.
//
// lr() and clock() are of the step under way only; observe_gradient() ends it.
class AdaScaleController final : public LrController {
 public:
  struct Inputs {
    int64_t base_steps = 0;    // length of training in steps of base_batch
    int64_t base_batch = 1;    // that `schedule` is stated at, unscaled
    int64_t global_batch = 1;  // samples of a step: scale = global_batch / base_batch
  };
  AdaScaleController(LrSchedule schedule, const Inputs& inputs);

  double lr(int64_t step) const override;
  double clock(int64_t step) const override;
  void observe(const StepNumbers&) override {}
  bool wants_gradient_sums() const override { return true; }
  void observe_gradient(int64_t step, const GradientSums& sums) override;
  bool done(int64_t completed_steps) const override;
  Numbers numbers() const override;
  std::string state() const override;
  // The batch may be another, base_batch may not.
  void restore(std::string_view state) override;

 private:
  void check_step(int64_t step) const;
  double gain() const;

  LrSchedule schedule_;
  Inputs inputs_;
  double scale_;
  int64_t step_ = 0;  // completed
  double tau_ = 0;
  double last_gain_ = 1;  // of the last completed step
  int64_t samples_ = 0;   // estimates that the averages hold
  double variance_ = 0;   // of one base batch's gradient
  double mean_square_ = 0;
};

}  // namespace largo::optim
