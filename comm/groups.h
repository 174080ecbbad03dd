// The communicators of a run.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi_session.h"
#include "comm/options.h"

namespace largo::comm {

struct Groups {
  std::unique_ptr<Communicator> world;      // gradients, metrics, state
  std::unique_ptr<Communicator> own_norms;  // null where normalization shares `world`
  std::unique_ptr<Communicator> check;      // the host's, to verify NCCL by; null on other backends
  std::string transport = {};  // how sums on the host travel, and why not otherwise; else empty

  // Synchronized normalization, inside forward and backward.
  Communicator& norms() const { return own_norms ? *own_norms : *world; }
};

struct GroupSetup {
  at::Device device = at::kCPU;  // of this rank; all ranks have the same kind
  bool overlap = true;
  std::vector<int> norm_ranks;       // that share normalization statistics with this one
  std::filesystem::path log_folder;  // where NCCL's own log goes
  bool share_gpu = false;            // several ranks use one GPU, as tests do
};

// Whether buckets should leave while backward runs. `overlap: auto` says no where every rank is on
// one node and computes with one thread: hiding a reduction needs a core or a network that would be
// idle otherwise. On GPUs it says yes.
bool use_overlap(const CommOptions& options, const MpiSession& session, int threads,
                 at::Device device);

// A collective. `world` is all ranks, norms() those of setup.norm_ranks.
//
// On the host they are two communicators that work independently of each other, so that a
// normalization layer need not keep an order with the buckets of gradients. On GPUs normalization
// over all ranks shares the gradients' communicator, as PyTorch's does, because two NCCL
// communicators that are in flight at once can block each other; `comm.norm_communicator: own`
// makes it another one. A smaller group has one of its own, on the same stream.
//
// Throws AgreedError{kUnavailable} where NCCL cannot be set up.
Groups make_groups(const CommOptions& options, const MpiSession& session, const GroupSetup& setup);

}  // namespace largo::comm
