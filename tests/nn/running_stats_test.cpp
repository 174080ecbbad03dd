#include "trainer/nn/running_stats.h"

#include <gtest/gtest.h>

#include <mutex>

#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/catalog.h"

namespace largo::nn {
namespace {

constexpr double kMomentum = 0.25;

torch::Tensor mean_of(const torch::Tensor& x) { return x.mean({0, 2, 3}); }
torch::Tensor unbiased_var_of(const torch::Tensor& x) {
  const int64_t count = x.size(0) * x.size(2) * x.size(3);
  return (x - x.mean({0, 2, 3}, true)).square().sum({0, 2, 3}) / (count - 1);
}

struct Buffers {
  torch::Tensor mean, var;
  int64_t batches = 0;
};

// One step of a norm layer: each rank sees its list of micro-batches.
Buffers run_step(NormKind kind, const std::vector<std::vector<torch::Tensor>>& micro_by_rank) {
  const int ranks = static_cast<int>(micro_by_rank.size());
  int64_t step_samples = 0;
  for (const auto& micros : micro_by_rank) {
    for (const auto& micro : micros) step_samples += micro.size(0);
  }
  Buffers result;
  comm::spawn_ranks(ranks, [&](comm::Communicator& group) {
    OneNorm model({.kind = kind, .momentum = kMomentum}, 3, group);
    model.to(torch::kFloat64);
    RunningStatistics statistics(model);
    statistics.pending().fill_(100);  // begin_step must forget it
    statistics.begin_step();
    for (size_t m = 0; m < micro_by_rank[0].size(); ++m) {
      std::vector<int64_t> counts;
      for (const auto& micros : micro_by_rank) counts.push_back(micros[m].size(0));
      const TrainingStep step(counts, step_samples);
      model.forward(micro_by_rank[group.rank()][m], step.context());
    }
    EXPECT_FALSE(statistics.pending().requires_grad());
    group.all_reduce(statistics.pending()).wait();
    statistics.apply();
    const auto& layer = dynamic_cast<const BatchNorm&>(*model.norm);
    if (group.rank() == 0) {
      result = {layer.running_mean, layer.running_var, layer.num_batches_tracked.item<int64_t>()};
    }
  });
  return result;
}

TEST(RunningStatisticsTest, BatchKindTakesTheCountWeightedMeanOverMicroBatches) {
  const torch::Tensor a = random_tensor({6, 3, 2, 2}, 1) + 3;
  const torch::Tensor b = random_tensor({2, 3, 2, 2}, 2) * 5;
  const Buffers buffers = run_step(NormKind::kBatch, {{a, b}});
  const torch::Tensor mean = 0.75 * mean_of(a) + 0.25 * mean_of(b);
  const torch::Tensor var = 0.75 * unbiased_var_of(a) + 0.25 * unbiased_var_of(b);
  EXPECT_LE(relative_error(buffers.mean, kMomentum * mean), 1e-13);
  EXPECT_LE(relative_error(buffers.var, (1 - kMomentum) + kMomentum * var), 1e-13);
  EXPECT_EQ(buffers.batches, 1);
}

TEST(RunningStatisticsTest, BatchKindAccumulationEqualsRanks) {
  const torch::Tensor a = random_tensor({6, 3, 2, 2}, 1) + 3;
  const torch::Tensor b = random_tensor({2, 3, 2, 2}, 2) * 5;
  const Buffers accumulated = run_step(NormKind::kBatch, {{a, b}});
  const Buffers ranks = run_step(NormKind::kBatch, {{a}, {b}});
  EXPECT_LE(relative_error(ranks.mean, accumulated.mean), 1e-14);
  EXPECT_LE(relative_error(ranks.var, accumulated.var), 1e-14);
}

TEST(RunningStatisticsTest, BatchKindWithARankWithoutSamples) {
  const torch::Tensor a = random_tensor({6, 3, 2, 2}, 1) + 3;
  const torch::Tensor none = torch::zeros({0, 3, 2, 2}, torch::kFloat64);
  const Buffers buffers = run_step(NormKind::kBatch, {{none}, {a}});
  EXPECT_LE(relative_error(buffers.mean, kMomentum * mean_of(a)), 1e-13);
}

TEST(RunningStatisticsTest, SyncBatchPoolsRanksAndAveragesMicroBatches) {
  const torch::Tensor a = random_tensor({5, 3, 2, 2}, 1) + 3;
  const torch::Tensor b = random_tensor({1, 3, 2, 2}, 2) * 5;
  const torch::Tensor c = random_tensor({2, 3, 2, 2}, 3) - 4;
  const torch::Tensor none = torch::zeros({0, 3, 2, 2}, torch::kFloat64);
  const Buffers buffers = run_step(NormKind::kSyncBatch, {{a, none}, {b, c}});
  const torch::Tensor ab = torch::cat({a, b});
  const torch::Tensor mean = 0.75 * mean_of(ab) + 0.25 * mean_of(c);
  const torch::Tensor var = 0.75 * unbiased_var_of(ab) + 0.25 * unbiased_var_of(c);
  EXPECT_LE(relative_error(buffers.mean, kMomentum * mean), 1e-13);
  EXPECT_LE(relative_error(buffers.var, (1 - kMomentum) + kMomentum * var), 1e-13);
}

TEST(RunningStatisticsTest, HoldsEveryLayerOfAModelOnce) {
  ModelCatalog catalog;
  add_builtin_models(catalog);
  comm::SelfCommunicator self;
  ModelSpec spec = {.options = {.name = "resnet8", .norm = {}},
                    .channels = 3,
                    .height = 8,
                    .width = 8,
                    .classes = 10};
  const auto model = catalog.make(spec, self, 1);
  RunningStatistics statistics(*model);
  EXPECT_EQ(statistics.pending().numel(), 2 * (16 + 2 * 16 + 2 * 32 + 2 * 64));
  const TrainingStep step({4});
  model->forward(random_tensor({4, 3, 8, 8}, 1, torch::kFloat32), step.context());
  statistics.apply();
  for (const auto& buffer : model->named_buffers()) {
    if (buffer.value().dim() == 0) {
      EXPECT_EQ(buffer.value().item<int64_t>(), 1) << buffer.key();
    } else {
      const double before = buffer.key().ends_with("running_var") ? 1 : 0;
      EXPECT_TRUE(buffer.value().ne(before).all().item<bool>()) << buffer.key();
    }
  }

  spec.options.norm.kind = NormKind::kGroup;
  const auto without = catalog.make(spec, self, 1);
  RunningStatistics none(*without);
  EXPECT_EQ(none.pending().numel(), 0);
  none.begin_step();
  none.apply();
}

}  // namespace
}  // namespace largo::nn
