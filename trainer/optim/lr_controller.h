// Who decides the learning rate, and when training is done.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/optim/lr_schedule.h"

namespace largo::optim {

struct GradientSums;  // gradient_statistics.h

// What the steps since the last record came to: reduced over all ranks, the same on each. Sums, not
// means: float64 adds losses of float32 without rounding, so a sum of such sums is the same to the
// bit wherever it was cut, by records or checkpoints.
struct StepNumbers {
  int64_t step = 0;      // completed updates
  double loss_sum = 0;   // over the samples since the last record
  double grad_norm = 0;  // of the last step
  int64_t samples = 0;   // since the last record
};

// What an evaluation of the validation set came to, the same on all ranks.
struct EvaluationNumbers {
  int64_t step = 0;  // completed updates
  double loss = 0;   // mean per sample
  double top1 = 0;   // part that is right, 0 .. 1
};

// Asked by the training loop. Every rank has one, gives it the same numbers and gets the same
// answers. Its state goes into checkpoints.
//
// Within a step: lr() and clock(), then, after the update, observe_gradient(). After it, in this
// order: observe() and numbers() where a record is due, observe_evaluation() where an evaluation
// is, state() where a checkpoint is.
class LrController {
 public:
  virtual ~LrController() = default;

  // The LR of the update that follows `step` completed ones.
  virtual double lr(int64_t step) const = 0;

  // The time that momentum and weight decay are scheduled by: base-batch steps under AdaScale.
  virtual double clock(int64_t step) const { return static_cast<double>(step); }

  // Called whenever the numbers have been reduced: at every train.log_every, and where
  // wants_losses().
  virtual void observe(const StepNumbers& numbers) = 0;

  // Called after every evaluation: at every train.eval_every, and where wants_evaluation().
  virtual void observe_evaluation(const EvaluationNumbers&) {}

  // Whether it decides by an evaluation after `completed` steps. It does not by others: how often
  // one evaluates or logs must not alter the training.
  virtual bool wants_evaluation(int64_t /*completed*/) const { return false; }

  // Whether the losses of all steps so far must be observed after `completed` ones, before the
  // decision or the checkpoint that follows.
  virtual bool wants_losses(int64_t /*completed*/, bool /*checkpoint_follows*/) const {
    return false;
  }

  // Whether observe_gradient() must be called in every step, with the sums of its gradient: what is
  // to be learnt of step `step` is for those that follow it.
  virtual bool wants_gradient_sums() const { return false; }
  virtual void observe_gradient(int64_t /*step*/, const GradientSums&) {}

  // What a record of the last step says of this controller, by name; nothing where lr says it all.
  using Numbers = std::vector<std::pair<std::string, double>>;
  virtual Numbers numbers() const { return {}; }

  virtual bool done(int64_t completed_steps) const = 0;

  virtual std::string state() const = 0;
  // Continues from a state() of the same kind of controller; throws Error{kBadData} otherwise.
  virtual void restore(std::string_view state) = 0;
};

// A schedule fixed beforehand and a number of steps: no state.
class ScheduleController final : public LrController {
 public:
  ScheduleController(LrSchedule schedule, int64_t total_steps)
      : schedule_(std::move(schedule)), total_steps_(total_steps) {}

  double lr(int64_t step) const override { return schedule_.lr(static_cast<double>(step)); }
  void observe(const StepNumbers&) override {}
  bool done(int64_t completed_steps) const override { return completed_steps >= total_steps_; }
  std::string state() const override { return {}; }
  void restore(std::string_view state) override {
    if (!state.empty()) {
      fail(ExitCode::kBadData, "the checkpoint holds the state of an adaptive learning rate (",
           state.size(), " bytes); this run has a fixed schedule, which has none");
    }
  }

 private:
  LrSchedule schedule_;
  int64_t total_steps_;
};

}  // namespace largo::optim
