// When a run stops before its end: after a signal, or for want of time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "trainer/agreed_wishes.h"

namespace largo {

// When a job ends, in seconds of the clock that Stopping is used with, and who says so.
struct Deadline {
  double at_s = 0;
  std::string source = {};  // "train.time_limit 2h"
};

// What is known beforehand of things that take time and have not happened yet.
struct Outlook {
  int64_t state_bytes = 0;      // that a checkpoint holds
  double evaluation_steps = 0;  // training steps that take as many samples as an evaluation
};

// Evaluations that may come after a step that wishes for no stop until the stop that the next step
// could bring; `follows` says whether one follows a step.
int64_t evaluations_before_stop(int64_t completed, const std::function<bool(int64_t)>& follows);

// Every rank has one and makes the same calls. Times are seconds of a clock of its own.
class Stopping {
 public:
  // `signal` returns the first signal that this rank got, 0 for none. The deadline is rank 0's to
  // watch.
  Stopping(std::function<int()> signal, std::optional<Deadline> deadline, int rank, double now_s,
           Outlook outlook = {});

  // Once after each step: what this rank wishes the ranks to agree on. `evaluations` may come
  // before a stop that the next step wishes for; only who watches_time() need count them.
  Wishes wishes(double now_s, int64_t evaluations = 0);
  bool watches_time() const { return watches_time_; }

  // How long a checkpoint took, from its beginning until it was complete.
  void saved_in(double seconds);

  // How long an evaluation took, since the last wishes().
  void evaluated_in(double seconds);

  // Before the deadline, so that a wish at the next step would not come too late: time for that
  // step and the two that pass until all agree, for `evaluations` and for two checkpoints, as a
  // writer may be busy with the one before. Each is taken to last as long as the longest so far.
  // Before there was any, an evaluation twice as long as training on as many samples, as its files
  // are read for the first time, and a checkpoint as long as a slow disk takes for its bytes, and
  // 10 s or a tenth of a shorter limit.
  double margin_s(int64_t evaluations = 0) const;

  const std::optional<Deadline>& deadline() const { return deadline_; }

  // What was agreed on; the first reason counts.
  static bool is_agreed(Wishes agreed);

 private:
  double save_s() const;
  double evaluation_s() const;

  std::function<int()> signal_;
  std::optional<Deadline> deadline_;
  Outlook outlook_;
  bool watches_time_;
  double started_s_;
  double last_s_;
  double evaluating_s_ = 0;  // since then
  // Steps, from one call of wishes() to the next without the evaluations in between.
  std::array<double, 1 + kStepsUntilAgreed> longest_s_ = {};
  double steps_s_ = 0;  // all of them
  int64_t steps_ = 0;
  std::optional<double> longest_save_s_;
  std::optional<double> longest_evaluation_s_;
};

// The earlier of `time_limit_s` after `started_s` and the end of the Slurm job. `job_end` is
// SLURM_JOB_END_TIME, seconds since 1970, null where there is none; one that is no number, or
// that has passed, is said through `warn` and not watched. `unix_s` is the time since 1970 at
// `now_s`.
std::optional<Deadline> earliest_deadline(std::optional<double> time_limit_s, double started_s,
                                          const char* job_end, double unix_s, double now_s,
                                          const std::function<void(const std::string&)>& warn);

}  // namespace largo
