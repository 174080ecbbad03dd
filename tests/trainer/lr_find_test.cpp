// The range test of a training: leaves no trace, and says the same at any world size.
#include "trainer/lr_find.h"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "comm/thread_communicator.h"
#include "tests/trainer/toy_run.h"

namespace largo::test {
namespace {

const optim::Ramp kRamp = {.from = 1e-2, .to = 50, .steps = 60};

ToyOptions toy(const std::string& model) {
  ToyOptions options = {.model = model, .norm_given = model != "mlp"};
  if (model == "resnet8") options.shape = {3, 8, 8};
  options.batch = {.global = 64};
  options.ema_decay = 0.9;
  return options;
}

ToyResult on_ranks(int ranks, const ToyOptions& options) {
  ToyResult of_rank_zero;
  std::mutex mutex;
  comm::spawn_ranks(ranks, [&](comm::Communicator& world) {
    const auto norms = world.split(norm_color(options.norm, world.rank()), world.rank());
    ToyResult result = run_toy(options, world, *norms);
    const std::scoped_lock lock(mutex);
    if (world.rank() == 0) of_rank_zero = std::move(result);
  });
  return of_rank_zero;
}

void expect_same_bits(const ToyResult& run, const ToyResult& reference) {
  EXPECT_EQ(run.losses, reference.losses);
  ASSERT_EQ(run.state.size(), reference.state.size());
  for (size_t i = 0; i < run.state.size(); ++i) {
    EXPECT_TRUE(run.state[i].second.equal(reference.state[i].second)) << run.state[i].first;
  }
}

struct Case {
  std::string name;
  ToyOptions options;
};

class NoTrace : public testing::TestWithParam<Case> {};

// 60 steps of 64 samples on a set of 160 go round many epochs.
TEST_P(NoTrace, TrainingAfterTheTestIsTheSame) {
  torch::set_num_threads(1);
  ToyOptions options = GetParam().options;
  for (const int ranks : {1, 2}) {
    options.range_test = {};
    const ToyResult reference = on_ranks(ranks, options);
    options.range_test = kRamp;
    const ToyResult result = on_ranks(ranks, options);
    ASSERT_TRUE(result.range_test);
    EXPECT_GT(result.range_test->points().size(), 5U);
    expect_same_bits(result, reference);
  }
}

// Whatever ends it.
TEST_P(NoTrace, NorIsThereOneOfATestThatFails) {
  torch::set_num_threads(1);
  ToyOptions options = GetParam().options;
  const ToyResult reference = run_toy_alone(options);
  options.range_test = kRamp;
  options.range_test_fails_at = 3;
  const ToyResult result = run_toy_alone(options);
  EXPECT_FALSE(result.range_test);
  expect_same_bits(result, reference);
}

std::vector<Case> cases() {
  ToyOptions batch_norm = toy("resnet8");
  batch_norm.norm = {.kind = nn::NormKind::kBatch};
  ToyOptions single = batch_norm;
  single.precision = Precision::kFloat32;
  ToyOptions adam = toy("mlp");
  adam.optimizer = {.kind = "adamw"};
  ToyOptions lars = toy("mlp");
  lars.optimizer = {.kind = "lars"};
  lars.clip_norm = 0.5;
  lars.mixup = 0.4;
  return {{"batch_norm", batch_norm}, {"float32", single}, {"adamw", adam}, {"lars", lars}};
}

INSTANTIATE_TEST_SUITE_P(Trainings, NoTrace, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(LrFind, TrainsOnTheRampTillTheLossDiverges) {
  torch::set_num_threads(1);
  ToyOptions options = toy("mlp");
  options.range_test = kRamp;
  const optim::RangeTest test = run_toy_alone(options).range_test.value();
  ASSERT_GT(test.points().size(), 10U);
  EXPECT_NE(test.end(), optim::RangeTest::End::kWhole);
  for (size_t i = 0; i < test.points().size(); ++i) {
    EXPECT_EQ(test.points()[i].lr, kRamp.lr(static_cast<int64_t>(i)));
    EXPECT_GE(test.points()[i].top1, 0);
    EXPECT_LE(test.points()[i].top1, 1);
  }
  // The first loss is the initial weights': that of the training's first step.
  EXPECT_DOUBLE_EQ(test.points()[0].loss, run_toy_alone(options).losses[0]);
}

double ramp_point(const optim::Ramp& ramp, double lr) {
  return std::log(lr / ramp.from) / std::log(ramp.to / ramp.from) * static_cast<double>(ramp.steps);
}

// Ranks and accumulation cut the same batches: one training, so the same points and suggestions.
void expect_same_test(const optim::RangeTest& test, const optim::RangeTest& reference) {
  ASSERT_EQ(test.points().size(), reference.points().size());
  EXPECT_EQ(test.end(), reference.end());
  // While it is stable: beyond, rounding grows by every step.
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(test.points()[i].loss, reference.points()[i].loss, 1e-9) << i;
    EXPECT_EQ(test.points()[i].top1, reference.points()[i].top1) << i;
  }
  int suggested = 0;
  for (const optim::SuggestionKind kind : optim::kSuggestionKinds) {
    const optim::Suggestion found = suggest(kind, test), expected = suggest(kind, reference);
    ASSERT_EQ(found.lr.has_value(), expected.lr.has_value()) << word_of(kind);
    if (!found.lr) continue;
    EXPECT_NEAR(ramp_point(test.ramp(), *found.lr), ramp_point(test.ramp(), *expected.lr), 1.001)
        << word_of(kind);
    ++suggested;
  }
  EXPECT_EQ(suggested, 4) << suggest(optim::SuggestionKind::kSlide, test).why_not;
}

TEST(LrFind, SaysTheSameAtAnyWorldAndAccumulation) {
  torch::set_num_threads(1);
  for (const char* model : {"mlp", "resnet8"}) {
    SCOPED_TRACE(model);
    ToyOptions options = toy(model);  // float64, group norm
    options.range_test = optim::Ramp{.from = 0.02, .to = 20, .steps = 60};
    if (options.model == "resnet8")
      options.range_test = optim::Ramp{.from = 0.1, .to = 2, .steps = 80};
    options.steps = 1;
    const optim::RangeTest reference = run_toy_alone(options).range_test.value();
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(ranks);
      expect_same_test(on_ranks(ranks, options).range_test.value(), reference);
    }
    options.batch = {.global = 64, .micro = 16};
    expect_same_test(run_toy_alone(options).range_test.value(), reference);
    options.batch = {.global = 64, .max_micro = 8};
    expect_same_test(on_ranks(3, options).range_test.value(), reference);
  }
}

}  // namespace
}  // namespace largo::test
