// Sums over the samples of all ranks that, under virtual workers, have the same bits whatever the
// ranks: each worker's stay apart until those of all ranks are together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "comm/communicator.h"

namespace largo {

// Of one rank's micro-batches, numbers without dimensions: their sum or, under virtual workers,
// one element for each, which is a worker's.
at::Tensor sum_micro_batches(const std::vector<at::Tensor>& values, bool by_worker);

// A collective. `sums` has a row for each quantity, a number or this rank's workers'; returns one
// number for each, over all ranks. Doubles; the host does not wait.
at::Tensor sum_over_ranks(at::Tensor sums, bool by_worker, comm::Communicator& world);

}  // namespace largo
