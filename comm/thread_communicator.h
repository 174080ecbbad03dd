// Ranks as threads of one process: what unit tests run collectives with.
#pragma once

#include <functional>

#include "comm/communicator.h"

namespace largo::comm {

// Runs body once per rank, each on a thread of its own with that rank's communicator, and returns
// when all are done. The first failure is rethrown; ranks that wait for the failed one are woken
// with an error. Reductions add in rank order. With `asynchronous`, all_reduce runs on a
// communication thread per rank, as the host communicator's does.
void spawn_ranks(int ranks, const std::function<void(Communicator&)>& body,
                 bool asynchronous = true);

}  // namespace largo::comm
