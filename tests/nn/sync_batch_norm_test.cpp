#include "trainer/nn/sync_batch_norm.h"

#include <gtest/gtest.h>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "tests/nn/norm_step.h"

namespace largo::nn {
namespace {

const NormOptions kSync = {.kind = NormKind::kSyncBatch, .momentum = 0.1, .epsilon = 1e-5};

// One micro-batch per rank.
Layout ranks_of(const std::vector<int64_t>& counts) {
  Layout layout;
  for (const int64_t count : counts) layout.push_back({count});
  return layout;
}

class SyncSplitTest : public testing::TestWithParam<std::vector<int64_t>> {
 protected:
  static void expect_one_process(const NormProblem& problem, double tolerance) {
    const NormOutcome expected = one_process(problem, kSync);
    for (const bool last : {false, true}) {
      expect_close(run_step(kSync, problem, ranks_of(GetParam()), last), expected, tolerance);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(
    Counts, SyncSplitTest,
    testing::Values(std::vector<int64_t>{8}, std::vector<int64_t>{4, 4},
                    std::vector<int64_t>{2, 2, 2, 2}, std::vector<int64_t>{5, 3},
                    std::vector<int64_t>{1, 4, 1, 2}, std::vector<int64_t>{0, 5, 3},
                    std::vector<int64_t>{7, 0, 1}, std::vector<int64_t>{0, 0, 8}));

TEST_P(SyncSplitTest, EqualsOneProcess) { expect_one_process(make_problem({8, 3, 4, 5}), 1e-12); }

// Large enough for the kernel that sums up one set at a time.
TEST_P(SyncSplitTest, EqualsOneProcessOnLargeImages) {
  expect_one_process(make_problem({8, 16, 32, 33}), 1e-12);
}

TEST_P(SyncSplitTest, EqualsOneProcessWhereChannelsAreConstant) {
  NormProblem problem = make_problem({8, 6, 3, 3});
  for (const int64_t channel : {0, 2, 5}) problem.x.select(1, channel).fill_(0.3 * channel - 0.7);
  expect_one_process(problem, 1e-10);
}

TEST_P(SyncSplitTest, EqualsOneProcessWhereTheMeanIsLarge) {
  NormProblem problem = make_problem({8, 3, 4, 5});
  problem.x = random_tensor(problem.x.sizes(), 5) + 1e4;
  expect_one_process(problem, 1e-10);
  problem.x = problem.x * torch::tensor({1.0, -1.0, 1e-6}, torch::kFloat64).view({1, -1, 1, 1});
  expect_one_process(problem, 1e-10);
}

TEST_P(SyncSplitTest, SinglePrecisionLosesNothingToALargeMean) {
  for (const double mean : {0.0, 1e4}) {
    for (const auto& sizes : {std::vector<int64_t>{8, 3, 4, 5}, {8, 16, 32, 33}}) {
      NormProblem problem = make_problem(sizes);
      problem.x = random_tensor(sizes, 5) + mean;
      const NormProblem single = problem.to(torch::kFloat32);
      const NormOutcome exact = one_process(single.to(torch::kFloat64), kSync);
      for (const bool last : {false, true}) {
        const NormOutcome rounded = run_step(kSync, single, ranks_of(GetParam()), last);
        expect_close(rounded, exact, 2e-5);
      }
    }
  }
}

TEST_P(SyncSplitTest, OnePixelImages) { expect_one_process(make_problem({8, 3, 1, 1}), 1e-12); }

TEST(SyncBatchNormTest, OneSampleInAll) {
  NormProblem problem = make_problem({1, 3, 2, 2});
  const NormOutcome expected = one_process(problem, kSync);
  for (const Layout& layout : {Layout{{1}}, Layout{{0}, {1}}, Layout{{0}, {0}, {1}, {0}}}) {
    expect_close(run_step(kSync, problem, layout), expected, 1e-12);
  }
  // One value in all: its unbiased variance is 0 / 0, which counts as 0.
  problem = make_problem({1, 3, 1, 1});
  const NormOutcome outcome = run_step(kSync, problem, {{0}, {1}});
  EXPECT_LE(relative_error(outcome.y.flatten(), problem.bias), 1e-14);
  EXPECT_LE(outcome.dx.abs().max().item<double>(), 1e-12);
  EXPECT_LE(relative_error(outcome.running_mean, 0.1 * problem.x.flatten()), 1e-14);
  EXPECT_LE(relative_error(outcome.running_var, torch::full({3}, 0.9, torch::kFloat64)), 1e-14);
}

// Each pair is one process for values and gradients; the buffers are the pairs' mean by samples.
TEST(SyncBatchNormTest, GroupsOfTheWorld) {
  const NormProblem problem = make_problem({8, 3, 4, 5});
  const Layout layout = {{1}, {4}, {0}, {3}};
  for (const bool last : {false, true}) {
    const NormOutcome outcome = run_step(kSync, problem, layout, last, /*group_size=*/2);
    const NormOutcome a = one_process(problem.part(0, 5), kSync);
    const NormOutcome b = one_process(problem.part(5, 3), kSync);
    const double share = 5.0 / 8;
    expect_close(outcome,
                 {torch::cat({a.y, b.y}), torch::cat({a.dx, b.dx}), a.dweight + b.dweight,
                  a.dbias + b.dbias, share * a.running_mean + (1 - share) * b.running_mean,
                  share * a.running_var + (1 - share) * b.running_var},
                 1e-12);
  }
}

TEST(SyncBatchNormTest, GroupsOfOneRankAreTheBatchKind) {
  const NormProblem problem = make_problem({8, 3, 4, 5});
  const Layout layout = {{3}, {0}, {4}, {1}};
  NormOptions batch = kSync;
  batch.kind = NormKind::kBatch;
  expect_close(run_step(kSync, problem, layout, false, /*group_size=*/1),
               run_step(batch, problem, layout), 1e-12);
}

TEST(SyncBatchNormTest, GradientByFiniteDifferences) {
  const NormProblem problem = {random_tensor({3, 2, 1, 2}, 1), random_tensor({3, 2, 1, 2}, 2),
                               random_tensor({2}, 3), random_tensor({2}, 4)};
  const Layout layout = {{2}, {0}, {1}};
  const NormOutcome outcome = run_step(kSync, problem, layout);
  const auto loss = [&](const torch::Tensor& x) {
    const torch::Tensor y =
        run_step(kSync, {x, problem.dy, problem.weight, problem.bias}, layout).y;
    return (y * problem.dy).sum().item<double>();
  };
  const double h = 1e-5;
  for (int64_t i = 0; i < problem.x.numel(); ++i) {
    const torch::Tensor up = problem.x.clone(), down = problem.x.clone();
    up.view({-1})[i] += h;
    down.view({-1})[i] -= h;
    EXPECT_NEAR(outcome.dx.reshape({-1})[i].item<double>(), (loss(up) - loss(down)) / (2 * h), 1e-7)
        << i;
  }
}

TEST(SyncBatchNormTest, WeightGradientsAreOfTheRanksOwnSamples) {
  const NormProblem problem = make_problem({4, 3, 4, 5});
  comm::spawn_ranks(2, [&](comm::Communicator& group) {
    OneNorm model(kSync, 3, group);
    model.to(torch::kFloat64);
    const TrainingStep step({3, 1});
    const NormProblem mine = group.rank() == 0 ? problem.part(0, 3) : problem.part(3, 1);
    model.forward(mine.x, step.context()).backward(mine.dy);
    EXPECT_LE(relative_error(model.norm->bias.grad(), mine.dy.sum({0, 2, 3})), 1e-13);
  });
}

TEST(SyncBatchNormTest, NoSamplesAnywhere) {
  comm::spawn_ranks(2, [&](comm::Communicator& group) {
    OneNorm model(kSync, 3, group);
    const TrainingStep step({0, 0}, 4);
    const torch::Tensor x = torch::zeros({0, 3, 2, 2}).requires_grad_();
    model.forward(x, step.context()).sum().backward();
    EXPECT_TRUE(torch::equal(model.norm->weight.grad(), torch::zeros({3})));
  });
}

// A rank without samples takes part in backward's collective though it has no weights to train.
TEST(SyncBatchNormTest, ARankWithoutSamplesAndWithoutAffine) {
  NormOptions options = kSync;
  options.affine = false;
  const NormProblem problem = make_problem({3, 3, 2, 2});
  NormProblem plain = problem;
  plain.weight = torch::ones_like(problem.weight);
  plain.bias = torch::zeros_like(problem.bias);
  const NormOutcome expected = one_process(plain, kSync);
  comm::spawn_ranks(2, [&](comm::Communicator& group) {
    OneNorm model(options, 3, group);
    model.to(torch::kFloat64);
    const TrainingStep step({0, 3});
    const int64_t count = group.rank() == 0 ? 0 : 3;
    const torch::Tensor x = problem.x.narrow(0, 0, count).clone().requires_grad_();
    const torch::Tensor y = model.forward(x, step.context());
    ASSERT_TRUE(y.requires_grad());
    y.backward(problem.dy.narrow(0, 0, count));
    EXPECT_EQ(x.grad().sizes(), x.sizes());
    if (count > 0) {
      EXPECT_LE(relative_error(y.detach(), expected.y), 1e-12);
      EXPECT_LE(relative_error(x.grad(), expected.dx), 1e-12);
    }
  });
}

// Counts what is asked of another communicator.
class CountingCommunicator final : public comm::Communicator {
 public:
  explicit CountingCommunicator(comm::Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  bool is_asynchronous() const override { return inner_.is_asynchronous(); }
  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override {
    return inner_.allocate(elements, dtype);
  }
  comm::Work all_reduce(at::Tensor tensor, comm::ReduceOp op) override {
    ++collectives;
    return inner_.all_reduce(tensor, op);
  }
  void broadcast(at::Tensor tensor, int root) override {
    ++collectives;
    inner_.broadcast(tensor, root);
  }
  at::Tensor all_gather(const at::Tensor& tensor) override {
    ++collectives;
    return inner_.all_gather(tensor);
  }
  void barrier() override {
    ++collectives;
    inner_.barrier();
  }
  std::unique_ptr<comm::Communicator> split(int color, int key) override {
    ++collectives;
    return inner_.split(color, key);
  }

  int collectives = 0;

 private:
  comm::Communicator& inner_;
};

TEST(SyncBatchNormTest, OneCollectiveEachWayInTrainingNoneInEvaluation) {
  comm::spawn_ranks(2, [&](comm::Communicator& group) {
    CountingCommunicator counting(group);
    OneNorm model(kSync, 3, counting);
    const torch::Tensor x = random_tensor({2, 3, 2, 2}, 1, torch::kFloat32).requires_grad_();
    const TrainingStep step({2, 2});
    const torch::Tensor y = model.forward(x, step.context());
    EXPECT_EQ(counting.collectives, 1);
    y.sum().backward();
    EXPECT_EQ(counting.collectives, 2);
    model.forward(x, {}).sum().backward();
    EXPECT_EQ(counting.collectives, 2);
  });
}

TEST(SyncBatchNormTest, RefusesCountsThatAreNotTheGroups) {
  comm::SelfCommunicator self;
  OneNorm model(kSync, 3, self);
  const torch::Tensor x = torch::zeros({2, 3, 2, 2});
  const TrainingStep two_ranks({2, 2});
  EXPECT_THROW(model.forward(x, two_ranks.context()), Error);
  const TrainingStep three_samples({3});
  EXPECT_THROW(model.forward(x, three_samples.context()), Error);
}

}  // namespace
}  // namespace largo::nn
