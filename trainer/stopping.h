// When a run stops before its end: after a signal, or for want of time.
#pragma once

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

// Every rank has one and makes the same calls. Times are seconds of a clock of its own.
class Stopping {
 public:
  // `signal` returns the first signal that this rank got, 0 for none. The deadline is rank 0's to
  // watch.
  Stopping(std::function<int()> signal, std::optional<Deadline> deadline, int rank, double now_s);

  // Once after each step: what this rank wishes the ranks to agree on.
  Wishes wishes(double now_s);

  // How long a checkpoint took, from its beginning until it was complete.
  void saved_in(double seconds);

  // Before the deadline, so that two more steps with what may lie between them, and a checkpoint,
  // fit in: from the longest of each so far.
  double margin_s() const;

  const std::optional<Deadline>& deadline() const { return deadline_; }

  // What was agreed on; the first reason counts.
  static bool is_agreed(Wishes agreed);

 private:
  std::function<int()> signal_;
  std::optional<Deadline> deadline_;
  bool watches_time_;
  double started_s_;
  double last_s_;
  double longest_s_ = 0;  // between two calls of wishes()
  double second_s_ = 0;   // the second longest
  std::optional<double> longest_save_s_;
};

// The earlier of `time_limit_s` after `started_s` and the end of the Slurm job. `job_end` is
// SLURM_JOB_END_TIME, seconds since 1970, null where there is none; one that is no number, or
// that has passed, is said through `warn` and not watched. `unix_s` is the time since 1970 at
// `now_s`.
std::optional<Deadline> earliest_deadline(std::optional<double> time_limit_s, double started_s,
                                          const char* job_end, double unix_s, double now_s,
                                          const std::function<void(const std::string&)>& warn);

}  // namespace largo
