// Signals that ask this process to stop.
#pragma once

namespace largo::comm {

// SIGUSR1, SIGUSR2, SIGTERM and SIGINT, from construction to destruction; one at a time in a
// process. One that the process was started to ignore stays ignored. A signal that comes before
// defer() ends the process at once, there being nothing yet that could be lost: with
// ExitCode::kStopped after SIGUSR1 and SIGUSR2, with 128 + its number after the others, which
// launchers also send when another rank has failed. After defer() the first is kept for
// received(), and the next ends the process with 128 + its number; what comes within a second of
// the first is the same wish, as launchers pass a signal on in more than one way.
//
// A handler reaches nothing but static memory: the flags lie there, and so there is one of this.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  void defer();

  // For the way out of a run that stops: a launcher may send one to ranks that leave a moment after
  // others.
  void ignore();

  int received() const;  // the first signal since defer(); 0: none
};

// "SIGUSR1"; "a signal" for one that is not of these.
const char* name_of_stop_signal(int signal);

}  // namespace largo::comm
