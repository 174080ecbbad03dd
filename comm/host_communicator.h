// Collectives of host memory through MPI. For comm/*.cpp only: others get one from MpiSession.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "comm/mpi_check.h"

namespace largo::comm {

// Takes over `comm`, which must be used by nothing else. With `asynchronous`, all collectives run
// on a communication thread of its own, by blocking MPI calls (MPI_Iallreduce makes no progress
// between MPI calls, so it would hide nothing); MPI must then allow calls from several threads. CPU
// tensors only. The result has the same bits on every rank; they depend on the number of ranks and
// on the tensor's size.
std::unique_ptr<Communicator> make_host_communicator(MpiComm comm, bool asynchronous);

}  // namespace largo::comm
