#include "trainer/checkpoint_times.h"

#include <utility>
#include <variant>

#include "comm/base/error.h"

namespace largo {

namespace {

constexpr comm::AgreedFlags::Flags kSaveNow = 1;

}  // namespace

CheckpointTimes::CheckpointTimes(const checkpoint::CheckpointOptions& options,
                                 const BatchPlan& plan, int rank, Exchange exchange,
                                 const RunState& from)
    : keep_best_(options.keep_best),
      rank_(rank),
      exchange_(std::move(exchange)),
      saved_s_(from.time_s),
      best_top1_(from.best_top1) {
  if (const auto* time = std::get_if<Time>(&options.every)) {
    every_s_ = time->seconds;
    LARGO_CHECK(exchange_, "checkpoints by the clock need flags to agree on");
  } else {
    every_steps_ = plan.steps_of(std::get<Duration>(options.every));
  }
}

void CheckpointTimes::evaluated(int64_t completed, double top1) {
  evaluated_ = {.step = completed, .top1 = top1, .is_best = !best_top1_ || top1 > *best_top1_};
  if (evaluated_.is_best) best_top1_ = top1;
}

bool CheckpointTimes::is_due(int64_t completed, bool done, double time_s) {
  const bool agreed = exchange_ && exchange_(wishes(time_s)) == kSaveNow;
  const bool is_best = keep_best_ && evaluated_.step == completed && evaluated_.is_best;
  const bool by_steps = every_steps_ > 0 && completed % every_steps_ == 0;
  // The wish was had one step ago: a checkpoint that was made there for another reason was it.
  return done || is_best || by_steps || (agreed && saved_step_ != completed - 1);
}

// A checkpoint by the clock of rank 0, once until it is made.
comm::AgreedFlags::Flags CheckpointTimes::wishes(double time_s) {
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
