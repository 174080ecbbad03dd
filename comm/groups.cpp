#include "comm/groups.h"

#include "comm/base/error.h"
#include "comm/self_communicator.h"

namespace largo::comm {

bool use_overlap(const CommOptions& options, const MpiSession& session, int threads) {
  if (session.size() == 1 || options.overlap == Overlap::kOff) return false;
  if (options.overlap == Overlap::kOn) return true;
  return threads > 1 || session.local_size() < session.size();
}

Groups make_groups(const CommOptions& options, const MpiSession& session, bool overlap,
                   int norm_color) {
  if (options.backend == Backend::kNccl) {
    fail(ExitCode::kUnavailable,
         "comm.backend: nccl needs a build of Largo with CUDA; legal in this one: auto, mpi");
  }
  if (session.size() == 1) {
    return {std::make_unique<SelfCommunicator>(), std::make_unique<SelfCommunicator>()};
  }
  const auto all = session.make_communicator(/*asynchronous=*/false);
  return {session.make_communicator(overlap), all->split(norm_color, session.rank())};
}

}  // namespace largo::comm
