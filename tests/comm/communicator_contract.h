// What every implementation of Communicator must do, checked on the ranks of one.
#pragma once

#include "comm/communicator.h"

namespace largo::test {

// Called by all ranks; throws std::runtime_error saying what does not hold (gtest's assertions are
// not for threads other than the main one).
void check_contract(comm::Communicator& world);

}  // namespace largo::test
