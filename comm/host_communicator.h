// Collectives of host memory. For comm/*.cpp only: others get one from MpiSession.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "comm/flight_record.h"
#include "comm/mpi_check.h"

namespace largo::comm {

struct HostSetup {
  bool asynchronous = false;
  bool shared_memory = true;                  // false: everything goes through MPI
  std::shared_ptr<FlightRecord> record = {};  // of all collectives; null: none is kept
  std::optional<int> node = {};               // tests: a made-up node, on which this rank then is
};

// Takes over `comm`, which must be used by nothing else. A collective of its ranks, which give the
// same setup but for the node.
//
// Ranks of one node reduce in shared memory (node_window.h), best what allocate() gave; the rest,
// and everything where shared memory cannot be had, goes through MPI. With `asynchronous`, all
// collectives run on a communication thread of its own, by blocking calls (MPI_Iallreduce makes no
// progress between MPI calls, so it would hide nothing); MPI must then allow calls from several
// threads. CPU tensors only. bfloat16 is summed in float32. The result has the same bits on every
// rank; they depend on the ranks and their nodes, and through MPI on the tensor's size.
std::unique_ptr<Communicator> make_host_communicator(MpiComm comm, const HostSetup& setup);

// How the sums of a communicator made here travel, and why not otherwise, in words.
std::string transport_of(const Communicator& host);

}  // namespace largo::comm
