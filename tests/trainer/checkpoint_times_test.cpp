#include "trainer/checkpoint_times.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "comm/agreed_flags.h"

namespace largo {
namespace {

// As AgreedFlags of one rank: what was wished for two steps before.
class Flags {
 public:
  Wishes exchange(Wishes mine) {
    static_assert(comm::AgreedFlags::kLag == 2);
    return std::exchange(before_last_, std::exchange(last_, mine));
  }

 private:
  Wishes last_ = 0;
  Wishes before_last_ = 0;
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
  Flags flags;
  for (int64_t step = 1; step <= 20; ++step) {
    const double now = seconds_per_step * static_cast<double>(step);
    const Wishes agreed = flags.exchange(times.wishes(now));
    for (const auto& [at, value] : top1) {
      if (at == step) times.evaluated(step, value);
    }
    if (!times.is_due(step, step == 20, agreed)) continue;
    steps.push_back(step);
    times.saved(step, now);
  }
  return steps;
}

TEST(CheckpointTimes, BySteps) {
  CheckpointTimes times({.every = Duration{7, Duration::Unit::kSteps}}, plan(), 0, {});
  EXPECT_EQ(steps_of(times, 1), (std::vector<int64_t>{7, 14, 20}));
}

TEST(CheckpointTimes, ByTheClockOfRankZeroTwoStepsLater) {
  CheckpointTimes times({.every = Time{4}}, plan(), 0, {});
  EXPECT_EQ(steps_of(times, 1), (std::vector<int64_t>{6, 12, 18, 20}));
  CheckpointTimes another({.every = Time{4}}, plan(), 1, {});
  EXPECT_EQ(steps_of(another, 1), (std::vector<int64_t>{20}));
}

// At step 4 the clock asks, and an evaluation saves at once; at step 8 it asks, and one saves at 9;
// at step 13 it asks, and the checkpoint comes where one is made anyway.
TEST(CheckpointTimes, AWishThatAnotherReasonFulfilledIsNotRepeated) {
  CheckpointTimes times({.every = Time{4}}, plan(), 0, {});
  EXPECT_EQ(steps_of(times, 1, {{4, 0.5}, {9, 0.6}, {15, 0.7}}),
            (std::vector<int64_t>{4, 9, 15, 20}));
}

TEST(CheckpointTimes, TheBestEvaluationOfThoseWhoseCheckpointsAreKept) {
  const std::vector<std::pair<int64_t, double>> top1 = {{2, 0.5}, {4, 0.4}, {6, 0.6}};
  const checkpoint::CheckpointOptions by_steps = {.every = Duration{9, Duration::Unit::kSteps}};
  CheckpointTimes times(by_steps, plan(), 0, {});
  EXPECT_EQ(steps_of(times, 1, top1), (std::vector<int64_t>{2, 6, 9, 18, 20}));
  EXPECT_EQ(times.best_top1(), 0.6);
  EXPECT_EQ(times.top1_of(6), 0.6);
  EXPECT_EQ(times.top1_of(7), std::nullopt);

  checkpoint::CheckpointOptions any = by_steps;
  any.keep_best = false;
  CheckpointTimes of_any(any, plan(), 0, {});
  EXPECT_EQ(steps_of(of_any, 1, top1), (std::vector<int64_t>{9, 18, 20}));
  // A run that goes on from here and keeps the best has none yet.
  EXPECT_EQ(of_any.best_top1(), std::nullopt);
  CheckpointTimes resumed(by_steps, plan(), 0, {.best_top1 = 0.55});
  EXPECT_EQ(steps_of(resumed, 1, top1), (std::vector<int64_t>{6, 9, 18, 20}));
}

}  // namespace
}  // namespace largo
