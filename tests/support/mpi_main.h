// The MPI session of a test program that runs as several ranks.
#pragma once

#include "comm/mpi_session.h"

namespace largo::test {

// Valid from the start of main to its end.
const comm::MpiSession& mpi_session();

}  // namespace largo::test
