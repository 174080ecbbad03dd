// LR range test of a training that is put together: trains on a ramp of LRs, and undoes it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "trainer/learner.h"
#include "trainer/optim/lr_controller.h"
#include "trainer/optim/lr_range.h"
#include "trainer/trainer.h"

namespace largo {

// The ramp as the training loop asks for it. Scheduled momentum and weight decay are held at what
// they are at `clock`: where the schedule's LR is greatest, which is the LR that is looked for.
class RampController final : public optim::LrController {
 public:
  explicit RampController(const optim::Ramp& ramp, double clock = 0) : ramp_(ramp), clock_(clock) {}

  const optim::Ramp& ramp() const { return ramp_; }

  double lr(int64_t step) const override { return ramp_.lr(step); }
  double clock(int64_t) const override { return clock_; }
  void observe(const optim::StepNumbers&) override {}
  bool done(int64_t completed_steps) const override { return completed_steps >= ramp_.steps; }
  std::string state() const override { return {}; }
  void restore(std::string_view) override {}

 private:
  optim::Ramp ramp_;
  double clock_;
};

// A collective: trains `learner` on the ramp, from the first batch of the first epoch, until the
// test is over. The loss of each step is summed over all ranks before anything is decided by it, so
// they all stop at the same step and hold the same test.
//
// Afterwards, and also if it throws, all that training has made is as it was before: parameters and
// buffers, the optimizer's state, the average of the weights. A training that follows is bit for
// bit the one without the test, with a Trainer and a GradientReducer of its own (the test's reducer
// has fixed the order of its buckets).
//
// `parts` are of `learner`; their LR controller is `ramp`, and their plan has at least the ramp's
// steps. Nothing is recorded, evaluated or saved. `on_point` is called after each step that gave a
// point, with its number.
using OnPoint = std::function<void(int64_t step, const optim::RangePoint& point)>;
optim::RangeTest run_range_test(
    const Trainer::Parts& parts, Learner& learner, const RampController& ramp,
    const OnPoint& on_point = [](int64_t, const optim::RangePoint&) {});

}  // namespace largo
