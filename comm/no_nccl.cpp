// Builds without CUDA.
#include "comm/base/error.h"
#include "comm/nccl_backend.h"

namespace largo::comm {

std::unique_ptr<Communicator> make_nccl_communicator(const MpiSession&,
                                                     std::unique_ptr<Communicator>,
                                                     const NcclSettings&) {
  throw AgreedError(ExitCode::kUnavailable,
                    "comm.backend: nccl needs a build of Largo with CUDA (launch/build cuda)");
}

std::string nccl_versions() { return {}; }

}  // namespace largo::comm
