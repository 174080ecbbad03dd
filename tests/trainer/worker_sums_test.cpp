#include "trainer/worker_sums.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"

namespace largo {
namespace {

// Each rank has the numbers of its workers; where it has one, they lie in memory another way.
TEST(WorkerSums, HaveTheSameBitsAtEveryWorld) {
  constexpr int64_t kQuantities = 6;
  for (const int64_t workers : {6, 8, 12, 32}) {
    for (int trial = 0; trial < 20; ++trial) {
      torch::manual_seed(trial);
      const torch::Tensor all = torch::randn({kQuantities, workers}, torch::kDouble);
      comm::SelfCommunicator alone;
      const torch::Tensor expected = sum_over_ranks(all.clone(), /*by_worker=*/true, alone);
      for (const int64_t ranks : {workers / 2, workers}) {
        const int64_t share = workers / ranks;
        comm::spawn_ranks(static_cast<int>(ranks), [&](comm::Communicator& world) {
          const torch::Tensor mine = all.narrow(1, world.rank() * share, share).clone();
          if (!torch::equal(sum_over_ranks(mine, /*by_worker=*/true, world), expected)) {
            fail(ExitCode::kInternal, workers, " workers on ", ranks, " ranks: other bits");
          }
        });
      }
    }
  }
}

}  // namespace
}  // namespace largo
