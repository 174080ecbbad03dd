#include "trainer/checkpoint_times.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace largo {
namespace {

// As AgreedFlags of one rank: what was wished for at the step before.
class Wishes {
 public:
  CheckpointTimes::Exchange exchange() {
    return [this](comm::AgreedFlags::Flags mine) { return std::exchange(before_, mine); };
  }

 private:
  comm::AgreedFlags::Flags before_ = 0;
};

BatchPlan plan() {
  return BatchPlan({.batch = {.global = 10},
                    .length = {100, Duration::Unit::kSteps},
                    .world = 1,
                    .train_samples = 1000});
}

// The steps after which checkpoints are made; `top1` comes from evaluations, by step.
std::vector<int64_t> steps_of(CheckpointTimes& times, double seconds_per_step,
                              const std::vector<std::pair<int64_t, double>>& top1 = {}) {
  std::vector<int64_t> steps;
  for (int64_t step = 1; step <= 20; ++step) {
    const double now = seconds_per_step * static_cast<double>(step);
    for (const auto& [at, value] : top1) {
      if (at == step) times.evaluated(step, value);
    }
    if (!times.is_due(step, step == 20, now)) continue;
    steps.push_back(step);
    times.saved(step, now);
  }
  return steps;
}

TEST(CheckpointTimes, BySteps) {
  CheckpointTimes times({.every = Duration{7, Duration::Unit::kSteps}}, plan(), 0, {}, {});
  EXPECT_EQ(steps_of(times, 1), (std::vector<int64_t>{7, 14, 20}));
}

TEST(CheckpointTimes, ByTheClockOfRankZeroOneStepLater) {
  Wishes wishes;
  CheckpointTimes times({.every = Time{4}}, plan(), 0, wishes.exchange(), {});
  EXPECT_EQ(steps_of(times, 1), (std::vector<int64_t>{5, 10, 15, 20}));
  Wishes of_another;
  CheckpointTimes another({.every = Time{4}}, plan(), 1, of_another.exchange(), {});
  EXPECT_EQ(steps_of(another, 1), (std::vector<int64_t>{20}));
}

// At step 4 the clock asks, and an evaluation saves; at step 9 it asks, and one saves at 10.
TEST(CheckpointTimes, AWishThatAnotherReasonFulfilledIsNotRepeated) {
  Wishes wishes;
  CheckpointTimes times({.every = Time{4}}, plan(), 0, wishes.exchange(), {});
  EXPECT_EQ(steps_of(times, 1, {{4, 0.5}, {10, 0.6}}), (std::vector<int64_t>{4, 9, 10, 15, 20}));
}

TEST(CheckpointTimes, TheBestEvaluationOfThoseWhoseCheckpointsAreKept) {
  const std::vector<std::pair<int64_t, double>> top1 = {{2, 0.5}, {4, 0.4}, {6, 0.6}};
  const checkpoint::CheckpointOptions by_steps = {.every = Duration{9, Duration::Unit::kSteps}};
  CheckpointTimes times(by_steps, plan(), 0, {}, {});
  EXPECT_EQ(steps_of(times, 1, top1), (std::vector<int64_t>{2, 6, 9, 18, 20}));
  EXPECT_EQ(times.best_top1(), 0.6);
  EXPECT_EQ(times.top1_of(6), 0.6);
  EXPECT_EQ(times.top1_of(7), std::nullopt);

  checkpoint::CheckpointOptions any = by_steps;
  any.keep_best = false;
  CheckpointTimes of_any(any, plan(), 0, {}, {});
  EXPECT_EQ(steps_of(of_any, 1, top1), (std::vector<int64_t>{9, 18, 20}));
  // A run that goes on from here and keeps the best has none yet.
  EXPECT_EQ(of_any.best_top1(), std::nullopt);
  CheckpointTimes resumed(by_steps, plan(), 0, {}, {.best_top1 = 0.55});
  EXPECT_EQ(steps_of(resumed, 1, top1), (std::vector<int64_t>{6, 9, 18, 20}));
}

}  // namespace
}  // namespace largo
