// Sums through MPI whose order is not MPI's to choose. For comm/*.cpp only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/mpi_check.h"
#include "comm/window_sums.h"

namespace largo::comm {

// Replaces `data` on every rank of `comm` by combine() of the ranks' numbers, in the order of the
// ranks: they exchange parts, each combines one, and all gather them. So no rank sends more than an
// all-reduce does, and the bits are the same on all. A collective.
void mpi_combine(std::byte* data, int64_t elements, WindowType type, WindowOp op, MPI_Comm comm);

}  // namespace largo::comm
