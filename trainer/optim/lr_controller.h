// Who decides the learning rate, and when training is done.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "comm/base/error.h"
#include "trainer/optim/lr_schedule.h"

namespace largo::optim {

// What the steps since the last record came to: reduced over all ranks, the same on each.
struct StepNumbers {
  int64_t step = 0;      // completed updates
  double loss = 0;       // mean over the samples since the last record
  double grad_norm = 0;  // of the last step
};

// Asked by the training loop. Every rank has one, gives it the same numbers and gets the same
// answers. Its state goes into checkpoints.
class LrController {
 public:
  virtual ~LrController() = default;

  // The LR of the update that follows `step` completed ones.
  virtual double lr(int64_t step) const = 0;

  // Called whenever the numbers have been reduced, at every train.log_every: in order.
  virtual void observe(const StepNumbers& numbers) = 0;

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
