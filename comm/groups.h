// The communicators of a run.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "comm/mpi_session.h"
#include "comm/options.h"

namespace largo::comm {

struct Groups {
  std::unique_ptr<Communicator> world;  // gradients, metrics, state
  std::unique_ptr<Communicator> norms;  // synchronized normalization, inside forward and backward
};

// Whether buckets should leave while backward runs. `overlap: auto` says no where every rank is on
// one node with one thread: hiding a reduction needs a core or a network that would be idle
// otherwise.
bool use_overlap(const CommOptions& options, const MpiSession& session, int threads);

// A collective. Two communicators that work independently of each other, on the host, so that a
// normalization layer need not keep an order with the buckets of gradients: `world` is all ranks,
// `norms` those that give the same `norm_color`. Throws Error{kUnavailable} for a backend that this
// build does not have.
Groups make_groups(const CommOptions& options, const MpiSession& session, bool overlap,
                   int norm_color);

}  // namespace largo::comm
