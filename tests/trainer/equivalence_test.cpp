// R ranks × b samples, accumulation and uneven ranks compute the same steps as one process: ranks
// as threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>
#include <vector>

#include "comm/thread_communicator.h"
#include "tests/trainer/equivalence_cases.h"
#include "tests/trainer/toy_run.h"

namespace largo::test {
namespace {

ToyResult run_on_threads(const ToyOptions& options, int ranks) {
  ToyResult of_rank_zero;
  std::mutex mutex;
  comm::spawn_ranks(ranks, [&](comm::Communicator& world) {
    const auto norms = world.split(norm_color(options.norm, world.rank()), world.rank());
    ToyResult result = run_toy(options, world, *norms);
    if (world.rank() == 0) {
      const std::scoped_lock lock(mutex);
      of_rank_zero = std::move(result);
    }
  });
  return of_rank_zero;
}

class Equivalence : public testing::TestWithParam<Subject> {};

TEST_P(Equivalence, EveryCutIsTheSameTraining) {
  torch::set_num_threads(1);
  for (const Precision precision : {Precision::kFloat64, Precision::kFloat32}) {
    ToyOptions options = GetParam().options;
    options.precision = precision;
    options.batch = {.global = 64};
    const ToyResult reference = run_toy_alone(options);
    // Far from both a standstill and an explosion: there numbers would agree or part for no reason.
    EXPECT_GT(reference.grad_norms.back(), 1e-3);
    EXPECT_LT(reference.losses.back(), 2 * reference.losses.front());
    for (const Cut& cut : all_cuts()) {
      if (cut.accumulates && GetParam().needs_whole_batch) continue;
      options.batch = cut.batch;
      const ToyResult result = run_on_threads(options, cut.world);
      EXPECT_EQ(difference(result, reference, precision), "")
          << cut.name << (precision == Precision::kFloat64 ? ", float64" : ", float32");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Equivalence, testing::ValuesIn(all_subjects()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           for (char& c : name) {
                             if (c == ' ') c = '_';
                           }
                           return name;
                         });

struct OptimizerCase {
  std::string name;
  double lr;  // at half of the batch
  optim::OptimizerOptions optimizer;
};

// Groups, and momentum and weight decay that change from step to step.
optim::OptimizerOptions with_rates(const std::string& kind) {
  optim::OptimizerOptions options;
  options.kind = kind;
  options.momentum_schedule.policy.kind = optim::PolicyKind::kOneCycle;
  options.momentum_schedule.middle = 0.5;
  options.weight_decay_schedule.policy.kind = optim::PolicyKind::kPolynomial;
  options.groups = {{.match = "fc.*", .lr_factor = 2, .weight_decay = 0.01},
                    {.match = "bn*.bias", .lr_factor = 0.5}};
  return options;
}

std::vector<OptimizerCase> all_optimizers() {
  const auto absorbed = optim::MomentumForm::kAbsorbed;
  return {
      {"sgd_with_rates", 0.05, with_rates("sgd")},
      {"lars_with_rates", 2, with_rates("lars")},
      {"adamw_with_rates", 0.001, with_rates("adamw")},
      {"sgd_absorbed",
       0.05,
       {.nesterov = true, .momentum_form = absorbed, .momentum_correction = true}},
      {"adagrad", 0.005, {.kind = "adagrad"}},
      {"adadelta", 0.5, {.kind = "adadelta"}},
      {"rmsprop", 0.0005, {.kind = "rmsprop", .momentum = 0.9, .centered = true}},
      {"adam", 0.001, {.kind = "adam", .amsgrad = true}},
      {"adamw", 0.001, {.kind = "adamw"}},
      {"lion", 0.0002, {.kind = "lion"}},
      {"lars", 2, {.kind = "lars", .nesterov = true}},
      {"lars_absorbed", 2, {.kind = "lars", .momentum_form = absorbed}},
      {"lamb", 0.005, {.kind = "lamb", .always_adapt = true}},
  };
}

class OptimizerEquivalence : public testing::TestWithParam<OptimizerCase> {};

TEST_P(OptimizerEquivalence, EveryWorldIsTheSameTraining) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "resnet8", .shape = {3, 8, 8}};
  options.lr = GetParam().lr;
  options.optimizer = GetParam().optimizer;
  options.optimizer.weight_decay = 5e-3;
  options.batch = {.global = 64};
  const ToyResult reference = run_toy_alone(options);
  EXPECT_GT(reference.grad_norms.back(), 1e-3);
  EXPECT_LT(reference.losses.back(), 2 * reference.losses.front());
  for (const int world : {2, 4}) {
    EXPECT_EQ(difference(run_on_threads(options, world), reference, Precision::kFloat64), "")
        << world << " ranks";
  }
  options.batch.micro = 16;
  EXPECT_EQ(difference(run_toy_alone(options), reference, Precision::kFloat64), "");
  // Another learning rate is another training, so the comparison sees the optimizer.
  options.lr *= 1.001;
  EXPECT_NE(difference(run_toy_alone(options), reference, Precision::kFloat64), "");
}

INSTANTIATE_TEST_SUITE_P(Kinds, OptimizerEquivalence, testing::ValuesIn(all_optimizers()),
                         [](const auto& info) { return info.param.name; });

// The running statistics of per-rank batch norm: R ranks and R micro-batches see the same ghost
// batches, so they are the same training too.
TEST(Equivalence, AccumulationIsRanksForBatchNorm) {
  torch::set_num_threads(1);
  ToyOptions options = {
      .model = "resnet8", .norm = {.kind = nn::NormKind::kBatch}, .shape = {3, 16, 16}};
  options.batch = {.global = 64, .micro = 16};
  const ToyResult reference = run_toy_alone(options);
  EXPECT_EQ(difference(run_on_threads(options, 2), reference, Precision::kFloat64), "");
  EXPECT_EQ(difference(run_on_threads(options, 4), reference, Precision::kFloat64), "");
  // And not the same as one batch of 64, or this test would see nothing.
  options.batch = {.global = 64};
  EXPECT_NE(difference(run_toy_alone(options), reference, Precision::kFloat64), "");
}

// Three ways of taking statistics over 32 samples of a global batch of 64: two ranks' own, pairs of
// four ranks, virtual batches of one process.
TEST(Equivalence, GhostBatchesAreRanksAndGroupsOfRanks) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "resnet8", .shape = {3, 16, 16}};
  options.batch = {.global = 64};
  options.norm = {.kind = nn::NormKind::kGhostBatch, .virtual_batch = 32};
  const ToyResult ghosts = run_toy_alone(options);
  options.norm = {.kind = nn::NormKind::kBatch};
  EXPECT_EQ(difference(run_on_threads(options, 2), ghosts, Precision::kFloat64), "");

  // The running variance of pairs of ranks is unbiased over 32 samples, as the others' is.
  options.norm = {.kind = nn::NormKind::kSyncBatch,
                  .sync_ranks = {nn::SyncRanks::Kind::kNumber, 2}};
  EXPECT_EQ(difference(run_on_threads(options, 4), ghosts, Precision::kFloat64), "");
  options.norm.sync_ranks = {nn::SyncRanks::Kind::kNumber, 4};
  EXPECT_NE(difference(run_on_threads(options, 4), ghosts, Precision::kFloat64), "");
}

TEST(Equivalence, PartialLastBatchesAndIdleRanks) {
  torch::set_num_threads(1);
  // 70 samples in steps of 64 and 6, then of 4 samples on 7 ranks: some ranks have none.
  for (const nn::NormKind norm : {nn::NormKind::kGroup, nn::NormKind::kSyncBatch}) {
    ToyOptions options = {.model = "resnet8",
                          .norm = {.kind = norm},
                          .last_batch = LastBatch::kKeep,
                          .steps = 4,
                          .train_samples = 70,
                          .shape = {3, 8, 8},
                          .mixup = 0.4,
                          .clip_norm = 1.0,
                          .ema_decay = 0.9};
    options.batch = {.global = 64};
    EXPECT_EQ(difference(run_on_threads(options, 7), run_toy_alone(options), Precision::kFloat64),
              "");
    options.batch = {.global = 4};
    EXPECT_EQ(difference(run_on_threads(options, 7), run_toy_alone(options), Precision::kFloat64),
              "");
  }
}

TEST(Equivalence, BucketsDoNotMatter) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "lenet", .norm_given = false};
  options.batch = {.global = 64};
  const ToyResult reference = run_on_threads(options, 2);
  EXPECT_GT(reference.buckets, 3);
  EXPECT_GT(reference.launched_in_backward, 0);  // in flight while backward still ran
  for (const bool overlap : {true, false}) {
    for (const int64_t bytes : {1024, 25 << 20}) {
      options.bucket_bytes = bytes;
      options.overlap = overlap;
      const ToyResult result = run_on_threads(options, 2);
      if (!overlap) {
        EXPECT_EQ(result.launched_in_backward, 0);
      }
      for (size_t i = 0; i < result.state.size(); ++i) {
        const auto& [name, tensor] = result.state[i];
        const torch::Tensor want = reference.state[i].second;
        EXPECT_LE((tensor - want).norm().item<double>(), 1e-12 * want.norm().item<double>())
            << name << " with buckets of " << bytes;
      }
    }
  }
}

// Four micro-batches of 16, wherever they are.
std::vector<std::pair<int, BatchOptions>> cuts_in_four() {
  return {{1, {.global = 64, .micro = 16}}, {2, {.global = 64, .micro = 16}}, {4, {.global = 64}}};
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double most = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    most = std::max(most, std::abs(a[i] - b[i]) / std::abs(b[i]));
  }
  return most;
}

TEST(GradientStatistics, DependOnTheMicroBatchesAndNotOnTheWorld) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "mlp", .norm_given = false, .clip_norm = 0.5};
  std::vector<double> reference;
  for (const auto& [world, batch] : cuts_in_four()) {
    for (const bool overlap : {true, false}) {
      options.batch = batch;
      options.overlap = overlap;
      const std::vector<double> found = run_on_threads(options, world).noise_scales;
      if (reference.empty()) reference = found;
      EXPECT_LE(largest_difference(found, reference), 1e-10) << world << " ranks";
      EXPECT_GT(*std::min_element(found.begin(), found.end()), 1);
    }
  }
  // Uneven ranks say nothing, one micro-batch neither.
  options.batch = {.global = 64};
  for (const int world : {3, 1}) {
    for (const double none : run_on_threads(options, world).noise_scales) EXPECT_EQ(none, -1);
  }
}

TEST(AdaScale, EveryWorldIsTheSameTraining) {
  torch::set_num_threads(1);
  for (const int64_t base : {16, 8}) {  // as many base batches as micro-batches, and twice as many
    ToyOptions options = {.model = "mlp", .norm_given = false, .steps = 8, .lr = 0.02};
    options.adascale_base = base;
    options.batch = {.global = 64, .micro = 16};
    const ToyResult reference = run_toy_alone(options);
    EXPECT_EQ(reference.lrs.front(), 0.02);
    const double most = *std::max_element(reference.lrs.begin(), reference.lrs.end());
    EXPECT_GT(most, 0.02 * 1.2);
    EXPECT_LT(most, 0.02 * 64 / static_cast<double>(base));
    for (const auto& [world, batch] : cuts_in_four()) {
      options.batch = batch;
      const ToyResult result = run_on_threads(options, world);
      EXPECT_EQ(difference(result, reference, Precision::kFloat64), "") << world << " ranks";
      EXPECT_LE(largest_difference(result.lrs, reference.lrs), 1e-10) << world << " ranks";
    }
  }
}

}  // namespace
}  // namespace largo::test
