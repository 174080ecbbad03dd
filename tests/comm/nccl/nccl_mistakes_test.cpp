// Mistakes that a user of NcclCore can make: each of these tests must fail (ctest turns it round),
// or the sums that other tests look at would not show a missing wait.
#include <gmock/gmock.h>

#include "tests/comm/nccl/training_steps.h"

namespace largo::test {
namespace {

class NcclMistakes : public EmulatedDevice {
 protected:
  void expect_right_sums(const std::function<void(TrainingSteps&)>& mistake) {
    const World world(2);
    std::atomic<int> wrong{0};
    const auto said = run(2, [&](int rank) {
      TrainingSteps training(2, rank, wrong);
      mistake(training);
      ComputeStream compute;
      const auto core = world.core(rank);
      training.run(*core, compute, 100);
      core->finish(60);
      compute.synchronize();
    });
    EXPECT_THAT(said, testing::Each(testing::IsEmpty()));
    EXPECT_EQ(wrong, 0);
  }
};

TEST_F(NcclMistakes, None) {
  expect_right_sums([](TrainingSteps&) {});
}

TEST_F(NcclMistakes, SumNotWaitedFor) {
  expect_right_sums([](TrainingSteps& training) { training.wait_for_sums = false; });
}

TEST_F(NcclMistakes, BufferFilledOnAnotherStream) {
  ComputeStream others[2];
  expect_right_sums([&](TrainingSteps& training) { training.fill_on = &others[training.rank()]; });
}

TEST_F(NcclMistakes, BufferReusedBeforeTheSum) {
  expect_right_sums([](TrainingSteps& training) { training.reuse_at_once = true; });
}

}  // namespace
}  // namespace largo::test
