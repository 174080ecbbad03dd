#include "trainer/checkpoint_times.h"

#include <variant>

#include "comm/agreed_flags.h"

namespace largo {

CheckpointTimes::CheckpointTimes(const checkpoint::CheckpointOptions& options,
                                 const BatchPlan& plan, int rank, const RunState& from)
    : keep_best_(options.keep_best),
      rank_(rank),
      saved_s_(from.time_s),
      best_top1_(from.best_top1) {
  if (const auto* time = std::get_if<Time>(&options.every)) {
    every_s_ = time->seconds;
  } else {
    every_steps_ = plan.steps_of(std::get<Duration>(options.every));
  }
}

void CheckpointTimes::evaluated(int64_t completed, double top1) {
  evaluated_ = {.step = completed, .top1 = top1, .is_best = !best_top1_ || top1 > *best_top1_};
  if (evaluated_.is_best) best_top1_ = top1;
}

bool CheckpointTimes::is_due(int64_t completed, bool done, Wishes agreed) const {
  const bool by_clock = (agreed & kSaveNow) != 0;
  const bool is_best = keep_best_ && evaluated_.step == completed && evaluated_.is_best;
  const bool by_steps = every_steps_ > 0 && completed % every_steps_ == 0;
  // A checkpoint that was made for another reason since the wish was it.
  const bool was_made = saved_step_ >= completed - comm::AgreedFlags::kLag;
  return done || is_best || by_steps || (by_clock && !was_made);
}

// A checkpoint by the clock of rank 0, once until it is made.
Wishes CheckpointTimes::wishes(double time_s) {
  const bool is_due = every_s_ && time_s - saved_s_ >= *every_s_;
  if (!is_due || is_asked_ || rank_ != 0) return 0;
  is_asked_ = true;
  return kSaveNow;
}

void CheckpointTimes::saved(int64_t completed, double time_s) {
  saved_step_ = completed;
  saved_s_ = time_s;
  is_asked_ = false;
}

std::optional<double> CheckpointTimes::top1_of(int64_t completed) const {
  return evaluated_.step == completed ? std::optional(evaluated_.top1) : std::nullopt;
}

std::optional<double> CheckpointTimes::best_top1() const {
  return keep_best_ ? best_top1_ : std::nullopt;
}

}  // namespace largo
