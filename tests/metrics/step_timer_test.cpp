#include "trainer/metrics/step_timer.h"

#include <gtest/gtest.h>

namespace largo::metrics {
namespace {

TEST(StepTimer, IsZeroBeforeTheFirstStep) {
  const StepTimer timer;
  EXPECT_EQ(timer.times().p50, 0);
  EXPECT_EQ(timer.samples_per_s(1024), 0);
}

TEST(StepTimer, LeavesOutTheFirstTenSteps) {
  StepTimer timer;
  for (int i = 0; i < 10; ++i) {
    timer.add(Phase::kForward, 100);
    timer.end_step(100);
  }
  timer.add(Phase::kForward, 1);
  timer.end_step(2);
  EXPECT_EQ(timer.times().forward, 1);
  EXPECT_EQ(timer.times().p50, 2);
  EXPECT_EQ(timer.samples_per_s(64), 32);
}

TEST(StepTimer, LeavesOutHalfOfAShortRun) {
  StepTimer timer;
  for (const double seconds : {100.0, 90.0, 3.0, 4.0, 5.0}) timer.end_step(seconds);
  EXPECT_EQ(timer.times().p50, 4);
  StepTimer one;
  one.end_step(7);
  EXPECT_EQ(one.times().p50, 7);
}

TEST(StepTimer, MicroBatchesOfAStepAddUp) {
  StepTimer timer;
  timer.add(Phase::kBackward, 1);
  timer.add(Phase::kBackward, 2);
  timer.end_step(3);
  EXPECT_EQ(timer.times().backward, 3);
}

TEST(StepTimer, PhasesDoNotLeakIntoTheNextStep) {
  StepTimer timer;
  for (int i = 0; i < 10; ++i) timer.end_step(1);
  timer.add(Phase::kData, 8);
  timer.end_step(9);
  timer.end_step(1);
  timer.end_step(1);
  EXPECT_EQ(timer.times().data, 0);  // the median of 8, 0, 0
}

TEST(StepTimer, EveryPhaseHasItsField) {
  StepTimer timer;
  timer.add(Phase::kData, 1);
  timer.add(Phase::kForward, 2);
  timer.add(Phase::kBackward, 3);
  timer.add(Phase::kExposedComm, 4);
  timer.add(Phase::kOptimizer, 5);
  timer.add(Phase::kGradientSums, 6);
  timer.end_step(21);
  const StepTimes times = timer.times();
  EXPECT_EQ(times.data, 1);
  EXPECT_EQ(times.forward, 2);
  EXPECT_EQ(times.backward, 3);
  EXPECT_EQ(times.exposed_comm, 4);
  EXPECT_EQ(times.optimizer, 5);
  EXPECT_EQ(times.gradient_sums, 6);
}

TEST(StepTimer, LoggingIsAMeanOverTheStepsAfterTheWarmUp) {
  StepTimer timer;
  for (int i = 0; i < 10; ++i) timer.add_logging(1000);
  timer.end_step(1);
  EXPECT_EQ(timer.times().logging, 0);
  for (int i = 0; i < 3; ++i) timer.add_logging(0);
  timer.add_logging(8);
  EXPECT_EQ(timer.times().logging, 2);
}

TEST(StepTimer, QuantilesAreInterpolated) {
  StepTimer timer;
  for (int i = 0; i < 10; ++i) timer.end_step(1000);
  for (int i = 100; i >= 0; --i) timer.end_step(i);  // 0 … 100, not in order
  const StepTimes times = timer.times();
  EXPECT_DOUBLE_EQ(times.p5, 5);
  EXPECT_DOUBLE_EQ(times.p50, 50);
  EXPECT_DOUBLE_EQ(times.p95, 95);
  StepTimer two;
  for (int i = 0; i < 10; ++i) two.end_step(1000);
  two.end_step(1);
  two.end_step(2);
  EXPECT_DOUBLE_EQ(two.times().p50, 1.5);
}

TEST(StepTimer, ALongRunIsThinnedOutEvenly) {
  StepTimer timer;
  for (int i = 0; i < 10; ++i) timer.end_step(0);
  const auto steps = static_cast<int>(3 * StepTimer::kCapacity);
  for (int i = 0; i < steps; ++i) timer.end_step(i);
  // A linear ramp's quantiles stay what they are if every part of the run is kept alike.
  EXPECT_NEAR(timer.times().p5, 0.05 * steps, 4);
  EXPECT_NEAR(timer.times().p50, 0.5 * steps, 4);
  EXPECT_NEAR(timer.times().p95, 0.95 * steps, 4);
}

}  // namespace
}  // namespace largo::metrics
