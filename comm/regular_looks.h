// Tells time that passed from time in which this process ran.
#pragma once

#include <chrono>

namespace largo::comm {

// A job that is suspended, held in a debugger or on a machine that is paused finds at its return
// that hours have passed, and nobody was late. What measures a wait looks at the clock again and
// again, and counts from when its looks have been regular.
class RegularLooks {
 public:
  using Clock = std::chrono::steady_clock;

  explicit RegularLooks(Clock::time_point begin = Clock::now()) : since_(begin), last_(begin) {}

  // One more look; since when no two have been further apart than `gap_s`.
  Clock::time_point since(double gap_s, Clock::time_point now = Clock::now()) {
    if (now - last_ > std::chrono::duration<double>(gap_s)) since_ = now;
    last_ = now;
    return since_;
  }

 private:
  Clock::time_point since_;
  Clock::time_point last_;
};

}  // namespace largo::comm
