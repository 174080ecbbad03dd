// Ghost batches of b samples on one rank are the batches of as many ranks, or micro-batches, with b
// samples each.
#include <gtest/gtest.h>

#include "tests/nn/norm_step.h"

namespace largo::nn {
namespace {

constexpr double kTolerance = 1e-12;

NormOptions ghost(int64_t virtual_batch) {
  return {.kind = NormKind::kGhostBatch, .virtual_batch = virtual_batch, .momentum = 0.3};
}
const NormOptions kBatch = {.kind = NormKind::kBatch, .momentum = 0.3};

class GhostBatchNormTest : public testing::TestWithParam<bool> {
 protected:
  // The small shape, and one that the kernel sums up one virtual batch at a time.
  std::vector<NormProblem> problems() const {
    return {make_problem({8, 3, 4, 5}), make_problem({8, 16, 47, 48})};
  }
};

INSTANTIATE_TEST_SUITE_P(ChannelsLast, GhostBatchNormTest, testing::Bool());

TEST_P(GhostBatchNormTest, EqualsRanks) {
  for (const NormProblem& problem : problems()) {
    const NormOutcome one = run_step(ghost(2), problem, {{8}}, GetParam());
    expect_close(one, run_step(kBatch, problem, {{2}, {2}, {2}, {2}}, GetParam()), kTolerance);
    expect_close(run_step(ghost(2), problem, {{4}, {0}, {4}}, GetParam()), one, kTolerance);
  }
}

TEST_P(GhostBatchNormTest, EqualsAccumulation) {
  for (const NormProblem& problem : problems()) {
    const NormOutcome one = run_step(ghost(2), problem, {{8}}, GetParam());
    expect_close(one, run_step(kBatch, problem, {{2, 2, 2, 2}}, GetParam()), kTolerance);
    expect_close(run_step(ghost(2), problem, {{4, 4}}, GetParam()), one, kTolerance);
  }
}

TEST_P(GhostBatchNormTest, TheLastVirtualBatchMayBeSmaller) {
  for (const NormProblem& problem : problems()) {
    const NormOutcome one = run_step(ghost(3), problem, {{8}}, GetParam());
    expect_close(one, run_step(kBatch, problem, {{3}, {3}, {2}}, GetParam()), kTolerance);
    expect_close(run_step(ghost(3), problem, {{4}, {4}}, GetParam()),
                 run_step(kBatch, problem, {{3, 1}, {3, 1}}, GetParam()), kTolerance);
  }
}

TEST_P(GhostBatchNormTest, AMicroBatchBelowTheVirtualSizeIsOneVirtualBatch) {
  for (const NormProblem& problem : problems()) {
    expect_close(run_step(ghost(100), problem, {{8}}, GetParam()), one_process(problem, kBatch),
                 kTolerance);
  }
}

// PyTorch's channels_last kernel would be wrong by more than a standard deviation here.
TEST_P(GhostBatchNormTest, SinglePrecisionLosesNothingToALargeMean) {
  NormProblem problem = make_problem({8, 16, 47, 48});
  problem.x = random_tensor(problem.x.sizes(), 5) + 1e4;
  const NormProblem single = problem.to(torch::kFloat32);
  const Layout four = {{2}, {2}, {2}, {2}};
  expect_close(run_step(ghost(2), single, {{8}}, GetParam()),
               run_step(kBatch, single.to(torch::kFloat64), four), 1e-5);
}

// The running variance is the mean of the virtual batches' own ones, without what lies between
// them.
TEST(GhostBatchNormRunningTest, TakesTheMeanOfTheVirtualBatches) {
  const NormProblem problem = make_problem({5, 3, 4, 5});
  const NormOutcome outcome = run_step(ghost(2), problem, {{5}});
  torch::Tensor mean = torch::zeros({3}, torch::kFloat64);
  torch::Tensor var = torch::zeros({3}, torch::kFloat64);
  for (const torch::Tensor& part : problem.x.split(2)) {
    const double share = static_cast<double>(part.size(0)) / 5;
    mean += share * part.mean({0, 2, 3});
    var += share * part.transpose(0, 1).flatten(1).var(1, /*unbiased=*/true);
  }
  EXPECT_LE(relative_error(outcome.running_mean, 0.3 * mean), 1e-13);
  EXPECT_LE(relative_error(outcome.running_var, 0.7 + 0.3 * var), 1e-13);
}

TEST(GhostBatchNormRunningTest, AVirtualBatchOfOneValueHasVarianceZero) {
  const NormProblem problem = make_problem({5, 3, 1, 1});
  const NormOutcome outcome = run_step(ghost(4), problem, {{5}});
  const torch::Tensor var = problem.x.narrow(0, 0, 4).flatten(1).var(0, /*unbiased=*/true);
  EXPECT_LE(relative_error(outcome.running_var, 0.7 + 0.3 * 0.8 * var), 1e-13);
  EXPECT_LE(relative_error(outcome.y[4].flatten(), problem.bias), 1e-13);
}

}  // namespace
}  // namespace largo::nn
