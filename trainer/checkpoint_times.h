// When a run makes checkpoints.
#pragma once

#include <cstdint>
#include <optional>

#include "trainer/agreed_wishes.h"
#include "trainer/batch_plan.h"
#include "trainer/checkpoint/options.h"
#include "trainer/run_state.h"

namespace largo {

// Every so many steps, by the clock of rank 0, at the end, and where an evaluation is better than
// all before. Every rank has one and makes the same calls.
class CheckpointTimes {
 public:
  CheckpointTimes(const checkpoint::CheckpointOptions& options, const BatchPlan& plan, int rank,
                  const RunState& from);

  // Once after each step: what this rank wishes the ranks to agree on.
  Wishes wishes(double time_s);

  // What the weights after `completed` steps came to on the validation set.
  void evaluated(int64_t completed, double top1);

  // Once after each step, the evaluation included. `agreed`: what AgreedFlags::exchange() made of
  // wishes().
  bool is_due(int64_t completed, bool done, Wishes agreed) const;

  void saved(int64_t completed, double time_s);

  std::optional<double> top1_of(int64_t completed) const;  // none: it was not evaluated

  // Of all evaluations, for RunState: none where their checkpoints are not kept, so that a run that
  // goes on and keeps them compares with none that is gone.
  std::optional<double> best_top1() const;

 private:
  // The last evaluation.
  struct Evaluated {
    int64_t step = -1;
    double top1 = 0;
    bool is_best = false;  // better than all before
  };

  std::optional<double> every_s_;  // none: by steps
  int64_t every_steps_ = 0;        // 0: by the clock
  bool keep_best_;
  int rank_;
  int64_t saved_step_ = -1;
  double saved_s_;
  bool is_asked_ = false;  // for a checkpoint by the clock, that is not made yet
  std::optional<double> best_top1_;
  Evaluated evaluated_;
};

}  // namespace largo
