// The learning rate of every step of a run: scaling rule, warm-up, policy.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "trainer/base/duration.h"
#include "trainer/optim/lr_policy.h"
#include "trainer/optim/options.h"

namespace largo::optim {

// What a schedule needs to know of the run. Under lr.scaling adascale its steps are those of a run
// at base_batch: total_steps and steps_of count them, and so do LrSchedule's steps.
struct ScheduleInputs {
  int64_t global_batch = 0;
  int64_t total_steps = 0;
  std::function<double(const Duration&)> steps_of;  // durations in steps
};

// A pure function of the step: a resumed run needs no state of it, and any step may be asked for.
class LrSchedule {
 public:
  // The LR of the update that follows `step` completed ones; fractions are legal.
  //
  // Before warmup_steps() (Goyal et al. 2017, section 2.2):
  //   gradual   start + (peak - start) * step / warmup_steps
  //   constant  start
  //   exponential  start * (peak / start)^(step / warmup_steps)
  //   sigmoid   start + (peak - start) / (1 + exp(-kappa (2 step / warmup_steps - 1)))
  // The peak there is where the policy goes on, for the kinds with a rise of their own (the cycles,
  // one-cycle, trapezoid) and for piecewise. From then on the policy, whose time counts from the
  // start of training (policy_clock global) or from the end of the warm-up (after_warmup). A policy
  // without a length has the rest of training: `end` is the LR of the last update, which is the one
  // of step total_steps - 1; where nothing is left after the warm-up, the peak is held.
  double lr(double step) const;

  double factor() const { return factor_; }  // of the scaling rule
  double peak() const { return peak_; }      // highest base or k1 * factor
  double warmup_steps() const { return warmup_steps_; }

  // "peak LR 3.2 = 0.1 × 32 (linear, batch 8192 / 256); …": for the plan printed at start. It says
  // what of the run is never reached.
  std::string describe() const { return description_; }

 private:
  friend LrSchedule make_schedule(const LrOptions&, const ScheduleInputs&);
  LrSchedule() = default;

  std::string describe_warmup(const LrOptions& options, double base, int64_t global_batch) const;

  double factor_ = 1;
  double peak_ = 0;
  WarmupKind warmup_ = WarmupKind::kNone;
  double warmup_start_ = 0;
  double warmup_target_ = 0;
  double warmup_kappa_ = 0;
  double warmup_steps_ = 0;
  double policy_origin_ = 0;
  Policy policy_;
  std::string description_;
};

// Every LR of the options is stated at base_batch: base, end and a numeric warm-up start are
// multiplied by the factor, only `start: base` is not (there lies the point of it; at factor <= 1
// there is then no warm-up, and describe() says so).
// The options have passed check(). Throws Error{kConfig} for what shows only in steps: milestones
// out of order, a length that is no step, or a learning rate of the run that is not finite.
LrSchedule make_schedule(const LrOptions& options, const ScheduleInputs& inputs);

}  // namespace largo::optim
