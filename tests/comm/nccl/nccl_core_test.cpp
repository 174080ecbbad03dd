#include "comm/nccl/nccl_core.h"

#include <gmock/gmock.h>

#include "tests/comm/nccl/training_steps.h"

namespace largo::test {
namespace {

using testing::Each;
using testing::IsEmpty;

class NcclCore : public EmulatedDevice, public testing::WithParamInterface<int> {};

INSTANTIATE_TEST_SUITE_P(Ranks, NcclCore, testing::Values(2, 4), testing::PrintToStringParamName());

void train(const std::function<void(TrainingSteps&)>& configure, comm::NcclCore& core, int steps,
           std::atomic<int>& wrong) {
  TrainingSteps training(core.size(), core.rank(), wrong);
  configure(training);
  ComputeStream compute;
  training.run(core, compute, steps);
  core.finish(60);
  compute.synchronize();  // the kernels use the buffers of `training`
}

TEST_P(NcclCore, SumsBucketsWhileOthersAreFilled) {
  const World world(GetParam());
  std::atomic<int> wrong{0};
  const auto said = run(world.ranks, [&](int rank) {
    const auto core = world.core(rank);
    train([](TrainingSteps&) {}, *core, 100, wrong);
    EXPECT_EQ(core->stream().completed(), 100u * TrainingSteps::kBuckets);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
  EXPECT_EQ(wrong, 0);
}

TEST_P(NcclCore, SumsGroupedBuckets) {
  const World world(GetParam());
  std::atomic<int> wrong{0};
  const auto said = run(world.ranks, [&](int rank) {
    const auto core = world.core(rank);
    train([](TrainingSteps& training) { training.grouped = true; }, *core, 100, wrong);
    EXPECT_EQ(core->stream().completed(), 100u);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace largo::test
