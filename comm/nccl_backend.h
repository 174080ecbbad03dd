// NCCL, as the rest of the program sees it: comm/nccl in builds with CUDA, no_nccl.cpp in others.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/mpi_session.h"

namespace largo::comm {

struct NcclSettings {
  int device = 0;                    // this rank's GPU
  double init_timeout_s = 900;       // for all ranks to join
  double timeout_s = 600;            // for one collective
  std::filesystem::path log_folder;  // NCCL's own log is written there, one file per process
  bool share_gpu = false;            // several ranks on one GPU, as tests have them
};

// A collective of all ranks: a communicator that sums the memory of GPUs by NCCL, on a stream of
// its own; tensors on the CPU go through `host`, which it takes over. Throws
// AgreedError{kUnavailable} where NCCL cannot be set up in time, with what each host has to say.
std::unique_ptr<Communicator> make_nccl_communicator(const MpiSession& session,
                                                     std::unique_ptr<Communicator> host,
                                                     const NcclSettings& settings);

// "NCCL 2.28.9 (built against 2.28.9)". Throws Error{kUnavailable} where the library that is loaded
// is of another major or minor version than the one that Largo was built against.
std::string nccl_versions();

}  // namespace largo::comm
