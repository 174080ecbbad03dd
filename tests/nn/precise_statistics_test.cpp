#include "trainer/nn/precise_statistics.h"

#include <gtest/gtest.h>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/nn/norm_step.h"

namespace largo::nn {
namespace {

struct Buffers {
  torch::Tensor mean, var;
};

// Moments of all samples at once.
Buffers moments_of_all(const torch::Tensor& x) {
  const torch::Tensor values = x.to(torch::kFloat64).transpose(0, 1).flatten(1);
  return {values.mean(1), values.var(1, /*unbiased=*/true)};
}

NormOptions options_of(NormKind kind) { return {.kind = kind, .virtual_batch = 3}; }

// What the buffers of one layer are after a pass over `x`, whose samples the ranks take batch by
// batch as the layout says. Every rank must find the same bits.
Buffers precise(NormKind kind, const torch::Tensor& x, const Layout& layout, int group_size = 0) {
  const int ranks = static_cast<int>(layout.size());
  const int together = group_size > 0 ? group_size : ranks;
  std::vector<Buffers> found(ranks);
  comm::spawn_ranks(ranks, [&](comm::Communicator& world) {
    const torch::NoGradGuard no_grad;
    const int rank = world.rank();
    const auto group = world.split(rank / together, rank);
    OneNorm model(options_of(kind), x.size(1), *group);
    model.to(x.scalar_type());
    RunningStatistics running(model);  // training's
    PreciseStatistics statistics(model);
    EXPECT_FALSE(statistics.empty());
    statistics.begin();
    int64_t first = 0;
    for (int before = 0; before < rank; ++before) {
      first += std::accumulate(layout[before].begin(), layout[before].end(), int64_t{0});
    }
    for (size_t batch = 0; batch < layout[rank].size(); ++batch) {
      std::vector<int64_t> counts;
      for (int member = 0; member < group->size(); ++member) {
        counts.push_back(layout[rank / together * together + member][batch]);
      }
      const TrainingStep step(counts, /*step_samples=*/1);
      model.forward(x.narrow(0, first, counts[group->rank()]), step.context());
      first += layout[rank][batch];
    }
    statistics.finish(world);
    const auto& layer = dynamic_cast<const BatchNorm&>(*model.norm);
    EXPECT_EQ(layer.num_batches_tracked.item<int64_t>(), 0);
    EXPECT_EQ(running.pending().abs().sum().item<double>(), 0);
    found[rank] = {layer.running_mean, layer.running_var};
  });
  for (const Buffers& buffers : found) {
    EXPECT_TRUE(torch::equal(buffers.mean, found[0].mean));
    EXPECT_TRUE(torch::equal(buffers.var, found[0].var));
  }
  return found[0];
}

class PreciseStatisticsTest : public testing::TestWithParam<NormKind> {
 protected:
  static void expect_all(const Buffers& buffers, const torch::Tensor& x, double tolerance) {
    const Buffers expected = moments_of_all(x);
    EXPECT_LE(relative_error(buffers.mean, expected.mean), tolerance);
    EXPECT_LE(relative_error(buffers.var, expected.var), tolerance);
  }

  const std::vector<Layout> layouts_ = {
      {{12}},
      {{4, 1, 7}},
      {{0, 5, 0, 7}},
      {{3, 3}, {3, 3}},
      {{0, 0}, {12, 0}},
      {{1, 2, 0}, {4, 0, 1}, {0, 0, 4}},
      {{0, 0}, {5, 1}, {0, 2}, {1, 3}},
  };
};

INSTANTIATE_TEST_SUITE_P(Kinds, PreciseStatisticsTest,
                         testing::Values(NormKind::kBatch, NormKind::kSyncBatch,
                                         NormKind::kGhostBatch));

TEST_P(PreciseStatisticsTest, AreThoseOfAllBatchesOfAllRanks) {
  const torch::Tensor x = make_problem({12, 3, 4, 5}).x;  // whose batches differ in their means
  for (const Layout& layout : layouts_) expect_all(precise(GetParam(), x, layout), x, 1e-12);
}

TEST_P(PreciseStatisticsTest, LoseNothingToALargeMean) {
  const torch::Tensor x = random_tensor({12, 3, 4, 5}, 1) + 1e4;
  for (const Layout& layout : layouts_) {
    expect_all(precise(GetParam(), x, layout), x, 1e-10);
    const torch::Tensor single = x.to(torch::kFloat32);
    expect_all(precise(GetParam(), single, layout), single, 1e-6);
  }
}

TEST_P(PreciseStatisticsTest, PoolTheWholeWorldWhereGroupsNormalizeByThemselves) {
  const torch::Tensor x = make_problem({12, 3, 4, 5}).x;
  expect_all(precise(GetParam(), x, layouts_.back(), /*group_size=*/2), x, 1e-12);
}

TEST_P(PreciseStatisticsTest, RestoreGivesTheOldBitsAndTrainingGoesOn) {
  comm::SelfCommunicator self;
  OneNorm model(options_of(GetParam()), 3, self);
  auto& layer = dynamic_cast<BatchNorm&>(*model.norm);
  RunningStatistics running(model);
  const torch::NoGradGuard no_grad;
  layer.running_mean.copy_(random_tensor({3}, 1));
  layer.running_var.copy_(random_tensor({3}, 2).abs());
  const Buffers before = {layer.running_mean.clone(), layer.running_var.clone()};
  const torch::Tensor x = random_tensor({6, 3, 2, 2}, 3, torch::kFloat32) + 2;

  PreciseStatistics statistics(model);
  for (int round = 0; round < 2; ++round) {
    statistics.begin();
    model.forward(x, TrainingStep({6}).context());
    statistics.finish(self);
    EXPECT_LE(relative_error(layer.running_mean, moments_of_all(x).mean), 1e-6);
    statistics.restore();
    EXPECT_TRUE(torch::equal(layer.running_mean, before.mean));
    EXPECT_TRUE(torch::equal(layer.running_var, before.var));
  }
  model.forward(x, TrainingStep({6}).context());
  EXPECT_LE(relative_error(running.pending().narrow(0, 0, 3), moments_of_all(x).mean), 1e-5);
}

TEST_P(PreciseStatisticsTest, WithoutSamplesTheBuffersStay) {
  comm::spawn_ranks(2, [&](comm::Communicator& world) {
    const torch::NoGradGuard no_grad;
    OneNorm model(options_of(GetParam()), 3, world);
    PreciseStatistics statistics(model);
    statistics.begin();
    const TrainingStep step({0, 0}, 1);
    model.forward(torch::zeros({0, 3, 2, 2}), step.context());
    statistics.finish(world);
    const auto& layer = dynamic_cast<const BatchNorm&>(*model.norm);
    EXPECT_TRUE(torch::equal(layer.running_mean, torch::zeros({3})));
    EXPECT_TRUE(torch::equal(layer.running_var, torch::ones({3})));
  });
}

TEST_P(PreciseStatisticsTest, OneValueHasVarianceZero) {
  const torch::Tensor x = random_tensor({1, 3, 1, 1}, 1);
  const Buffers buffers = precise(GetParam(), x, {{0}, {1}});
  EXPECT_LE(relative_error(buffers.mean, x.flatten()), 1e-14);
  EXPECT_TRUE(torch::equal(buffers.var, torch::zeros({3}, torch::kFloat64)));
}

// Two layers of different width, of which the second sees a quarter of the values.
class TwoNorms final : public Model {
 public:
  explicit TwoNorms(comm::Communicator& group)
      : first(register_module("bn1", make_norm({}, 3, group))),
        second(register_module("bn2", make_norm({}, 6, group))) {}
  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) override {
    first->forward(x, context);
    return second->forward(at::avg_pool2d(torch::cat({x, 2 * x}, 1), 2), context);
  }
  std::shared_ptr<Norm> first, second;
};

TEST(PreciseStatisticsModelTest, EveryLayerGetsItsOwn) {
  const torch::Tensor x = random_tensor({5, 3, 4, 4}, 1, torch::kFloat32) + 1;
  comm::spawn_ranks(2, [&](comm::Communicator& world) {
    const torch::NoGradGuard no_grad;
    TwoNorms model(world);
    PreciseStatistics statistics(model);
    statistics.begin();
    const int64_t count = world.rank() == 0 ? 2 : 3;
    model.forward(x.narrow(0, world.rank() == 0 ? 0 : 2, count), TrainingStep({count}).context());
    statistics.finish(world);
    const auto expect = [](const Norm& norm, const torch::Tensor& seen) {
      const auto& layer = dynamic_cast<const BatchNorm&>(norm);
      EXPECT_LE(relative_error(layer.running_mean, moments_of_all(seen).mean), 1e-6);
      EXPECT_LE(relative_error(layer.running_var, moments_of_all(seen).var), 1e-6);
    };
    expect(*model.first, x);
    expect(*model.second, at::avg_pool2d(torch::cat({x, 2 * x}, 1), 2));
  });
}

TEST(PreciseStatisticsModelTest, AModelWithoutRunningStatisticsIsEmpty) {
  comm::SelfCommunicator self;
  OneNorm model({.kind = NormKind::kGroup, .groups = 1}, 3, self);
  PreciseStatistics statistics(model);
  EXPECT_TRUE(statistics.empty());
  statistics.begin();
  statistics.finish(self);
  statistics.restore();
}

TEST(PreciseStatisticsModelTest, RefusesToFinishOrRestoreWhatWasNotBegun) {
  comm::SelfCommunicator self;
  OneNorm model({}, 3, self);
  PreciseStatistics statistics(model);
  EXPECT_THROW(statistics.finish(self), Error);
  EXPECT_THROW(statistics.restore(), Error);
}

}  // namespace
}  // namespace largo::nn
