#include "trainer/nn/sync_batch_norm.h"

#include <gtest/gtest.h>

#include <atomic>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/running_stats.h"

namespace largo::nn {
namespace {

constexpr double kEpsilon = 1e-5;
constexpr double kMomentum = 0.1;
const NormOptions kSync = {
    .kind = NormKind::kSyncBatch, .momentum = kMomentum, .epsilon = kEpsilon};

// Everything that comes out of one training step of a batch normalization layer.
struct Outcome {
  torch::Tensor y, dx, dweight, dbias, running_mean, running_var;
};

struct Problem {
  torch::Tensor x, dy, weight, bias;
};

// Rows differ in mean and spread, so that no rank's statistics are the others'.
Problem make_problem(int64_t samples, double mean = 0, torch::Dtype dtype = torch::kFloat64) {
  const int64_t channels = 3;
  torch::Tensor x = random_tensor({samples, channels, 4, 5}, 1);
  if (mean == 0) {
    const torch::Tensor row = torch::arange(samples, torch::kFloat64).view({-1, 1, 1, 1});
    x = x * (1 + row) + 2 * row;
  }
  return {(x + mean).to(dtype), random_tensor(x.sizes(), 2, dtype),
          random_tensor({channels}, 3, dtype), random_tensor({channels}, 4, dtype)};
}

Outcome one_process(const Problem& problem) {
  const torch::Tensor x = problem.x.clone().requires_grad_();
  const torch::Tensor weight = problem.weight.clone().requires_grad_();
  const torch::Tensor bias = problem.bias.clone().requires_grad_();
  const torch::Tensor mean = torch::zeros_like(problem.weight);
  const torch::Tensor var = torch::ones_like(problem.weight);
  const torch::Tensor y =
      at::batch_norm(x, weight, bias, mean, var, true, kMomentum, kEpsilon, true);
  y.backward(problem.dy);
  return {y.detach(), x.grad(), weight.grad(), bias.grad(), mean, var};
}

// The same step with the samples split over ranks as `counts` says.
Outcome split(const Problem& problem, const std::vector<int64_t>& counts, bool last = false) {
  const int ranks = static_cast<int>(counts.size());
  std::vector<torch::Tensor> y(ranks), dx(ranks), dweight(ranks), dbias(ranks);
  std::vector<torch::Tensor> running_mean(ranks), running_var(ranks);
  comm::spawn_ranks(ranks, [&](comm::Communicator& group) {
    const int rank = group.rank();
    const int64_t first = std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
    const auto part = [&](const torch::Tensor& whole) {
      const torch::Tensor mine = whole.narrow(0, first, counts[rank]).clone();
      return last ? channels_last(mine) : mine;
    };
    OneNorm model(kSync, problem.weight.numel(), group);
    model.to(problem.x.scalar_type());
    {
      const torch::NoGradGuard no_grad;
      model.norm->weight.copy_(problem.weight);
      model.norm->bias.copy_(problem.bias);
    }
    RunningStatistics statistics(model);
    const TrainingStep step(counts);
    const torch::Tensor x = part(problem.x).requires_grad_();
    const torch::Tensor out = model.forward(x, step.context());
    out.backward(part(problem.dy));
    group.all_reduce(statistics.pending()).wait();
    statistics.apply();

    const auto& layer = dynamic_cast<const BatchNorm&>(*model.norm);
    y[rank] = out.detach();
    dx[rank] = x.grad();
    dweight[rank] = layer.weight.grad();
    dbias[rank] = layer.bias.grad();
    running_mean[rank] = layer.running_mean;
    running_var[rank] = layer.running_var;
  });
  for (int rank = 1; rank < ranks; ++rank) {
    EXPECT_TRUE(torch::equal(running_mean[rank], running_mean[0])) << rank;
    EXPECT_TRUE(torch::equal(running_var[rank], running_var[0])) << rank;
  }
  return {torch::cat(y),   torch::cat(dx), torch::stack(dweight).sum(0), torch::stack(dbias).sum(0),
          running_mean[0], running_var[0]};
}

void expect_equal(const Outcome& a, const Outcome& b, double tolerance) {
  EXPECT_LE(relative_error(a.y, b.y), tolerance);
  EXPECT_LE(relative_error(a.dx, b.dx), tolerance);
  EXPECT_LE(relative_error(a.dweight, b.dweight), tolerance);
  EXPECT_LE(relative_error(a.dbias, b.dbias), tolerance);
  EXPECT_LE(relative_error(a.running_mean, b.running_mean), tolerance);
  EXPECT_LE(relative_error(a.running_var, b.running_var), tolerance);
}

class SyncSplitTest : public testing::TestWithParam<std::vector<int64_t>> {};

INSTANTIATE_TEST_SUITE_P(
    Counts, SyncSplitTest,
    testing::Values(std::vector<int64_t>{8}, std::vector<int64_t>{4, 4},
                    std::vector<int64_t>{2, 2, 2, 2}, std::vector<int64_t>{5, 3},
                    std::vector<int64_t>{1, 4, 1, 2}, std::vector<int64_t>{0, 5, 3},
                    std::vector<int64_t>{7, 0, 1}, std::vector<int64_t>{0, 0, 8}));

TEST_P(SyncSplitTest, EqualsOneProcess) {
  const Problem problem = make_problem(8);
  const Outcome expected = one_process(problem);
  expect_equal(split(problem, GetParam()), expected, 1e-12);
  expect_equal(split(problem, GetParam(), /*last=*/true), expected, 1e-12);
}

TEST_P(SyncSplitTest, EqualsOneProcessInSinglePrecision) {
  const Problem problem = make_problem(8, 0, torch::kFloat32);
  expect_equal(split(problem, GetParam(), true), one_process(problem), 1e-5);
}

TEST(SyncBatchNormTest, LargeMean) {
  const std::vector<int64_t> counts = {5, 0, 2, 1};
  const Problem problem = make_problem(8, 1e4);
  const Outcome expected = one_process(problem);
  const Outcome outcome = split(problem, counts, true);
  expect_equal(outcome, expected, 1e-9);
  // E[x^2] - E[x]^2 would be wrong by 1e-8 here.
  EXPECT_LE(relative_error(outcome.running_var, expected.running_var), 1e-11);

  // In single precision it would be wrong altogether: squares of 1e4 are rounded by 8. What is
  // left is the rounding of the local sums, whose order differs with the number of threads.
  const Problem single = make_problem(8, 1e4, torch::kFloat32);
  const Outcome rounded = split(single, counts, true);
  const Problem widened = {single.x.to(torch::kFloat64), single.dy.to(torch::kFloat64),
                           single.weight.to(torch::kFloat64), single.bias.to(torch::kFloat64)};
  const Outcome exact = one_process(widened);
  EXPECT_LE(relative_error(rounded.running_var, exact.running_var), 1e-3);
  EXPECT_LE(relative_error(rounded.y, exact.y), 2e-2);
  EXPECT_LE(relative_error(rounded.dx, exact.dx), 2e-2);
}

TEST(SyncBatchNormTest, GradientByFiniteDifferences) {
  const std::vector<int64_t> counts = {2, 0, 1};
  const Problem problem = {random_tensor({3, 2, 1, 2}, 1), random_tensor({3, 2, 1, 2}, 2),
                           random_tensor({2}, 3), random_tensor({2}, 4)};
  const Outcome outcome = split(problem, counts);
  const auto loss = [&](const torch::Tensor& x) {
    const torch::Tensor y = split({x, problem.dy, problem.weight, problem.bias}, counts).y;
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
  const Problem problem = make_problem(4);
  comm::spawn_ranks(2, [&](comm::Communicator& group) {
    OneNorm model(kSync, 3, group);
    model.to(torch::kFloat64);
    const TrainingStep step({3, 1});
    const int64_t first = group.rank() == 0 ? 0 : 3;
    const int64_t count = group.rank() == 0 ? 3 : 1;
    model.forward(problem.x.narrow(0, first, count), step.context())
        .backward(problem.dy.narrow(0, first, count));
    EXPECT_LE(
        relative_error(model.norm->bias.grad(), problem.dy.narrow(0, first, count).sum({0, 2, 3})),
        1e-13);
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
