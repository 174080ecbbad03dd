// The stop of a run before its end: what asks for it, and what is said.
#pragma once

#include <optional>
#include <string>

#include "comm/base/log.h"
#include "comm/mpi_session.h"
#include "comm/stop_signals.h"
#include "trainer/commands/training_setup.h"
#include "trainer/stopping.h"

namespace largo::commands {

double steady_s();  // of the clock that Stopping counts on here

// `started_s` is when the program began. Says what the deadline is, if there is one.
Stopping make_stopping(Training& training, const comm::StopSignals& signals, double started_s,
                       Log& log);

// "SIGUSR1 on rank 1 (node7)", "train.time_limit 3600s in 21 s". A collective; `why` as
// Trainer::stopped() says.
std::string reason_of_stop(Wishes why, const Stopping& stopping, const comm::StopSignals& signals,
                           const comm::MpiSession& session);

// Ends a process that has finalized MPI, with nothing in between that takes one rank longer than
// another: srun kills ranks that are late, and then has their exit code.
[[noreturn]] void leave(int code);

}  // namespace largo::commands
