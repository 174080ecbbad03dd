#include "comm/groups.h"

#include <utility>

#include "comm/base/error.h"
#include "comm/host_communicator.h"
#include "comm/nccl_backend.h"
#include "comm/self_communicator.h"
#include "comm/staged_communicator.h"

namespace largo::comm {

bool use_overlap(const CommOptions& options, const MpiSession& session, int threads,
                 at::Device device) {
  if (session.size() == 1 || options.overlap == Overlap::kOff) return false;
  if (options.overlap == Overlap::kOn || !device.is_cpu()) return true;
  return threads > 1 || session.local_size() < session.size();
}

namespace {

Groups host_groups(const MpiSession& session, const GroupSetup& setup) {
  const auto all = session.make_communicator(/*asynchronous=*/false);
  auto world = session.make_communicator(setup.overlap);
  std::string transport = transport_of(*world);
  return {.world = std::move(world),
          .own_norms = all->split(setup.norm_ranks.front(), session.rank()),
          .check = nullptr,
          .transport = std::move(transport)};
}

// Through one object, because the host waits for every collective.
Groups staged_groups(const MpiSession& session, const GroupSetup& setup) {
  Groups groups;
  groups.world =
      make_staged_communicator(session.make_communicator(/*asynchronous=*/false), setup.device);
  groups.own_norms = groups.world->split(setup.norm_ranks.front(), session.rank());
  return groups;
}

Groups nccl_groups(const CommOptions& options, const MpiSession& session, const GroupSetup& setup) {
  Groups groups;
  groups.world = make_nccl_communicator(session, session.make_communicator(/*asynchronous=*/false),
                                        {.device = setup.device.index(),
                                         .init_timeout_s = options.init_timeout.seconds,
                                         .timeout_s = options.timeout.seconds,
                                         .log_folder = setup.log_folder,
                                         .share_gpu = setup.share_gpu});
  groups.check = session.make_communicator(/*asynchronous=*/false);
  const bool over_all = static_cast<int>(setup.norm_ranks.size()) == session.size();
  if (!over_all || options.norm_communicator == NormCommunicator::kOwn) {
    groups.own_norms = groups.world->split(setup.norm_ranks.front(), session.rank());
  }
  return groups;
}

}  // namespace

Groups make_groups(const CommOptions& options, const MpiSession& session, const GroupSetup& setup) {
  LARGO_CHECK(!setup.norm_ranks.empty(), "no ranks to normalize over");
  if (session.size() == 1) {
    return {.world = std::make_unique<SelfCommunicator>(setup.device),
            .own_norms = nullptr,
            .check = nullptr};
  }
  if (setup.device.is_cpu()) return host_groups(session, setup);
  if (options.backend == Backend::kMpi) return staged_groups(session, setup);
  return nccl_groups(options, session, setup);
}

}  // namespace largo::comm
