// Where the time of a step goes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "trainer/metrics/recorder.h"

namespace largo::metrics {

// What a step spends its time on. kExposedComm is waiting for the network, whichever part of the
// step it happens in, and is not counted in that part as well. kGradientSums: the gradient's norm
// and the sums that its noise is told by.
enum class Phase { kData, kForward, kBackward, kExposedComm, kGradientSums, kOptimizer };

// Collects the durations of steps; the first kWarmupSteps are left out (caches fill, allocators
// grow, clocks rise), or the first half of a shorter run. One thread.
// Memory is bounded: of a run of more than kCapacity steps it keeps every second one, then every
// fourth, and so on.
class StepTimer {
 public:
  static constexpr int64_t kWarmupSteps = 10;
  static constexpr size_t kCapacity = 65536;

  // Adds to a phase of the step under way; micro-batches add up.
  void add(Phase phase, double seconds);

  // The step under way took so long as a whole.
  void end_step(double seconds);

  // Between two steps so long went into metrics, progress and records; once per step.
  void add_logging(double seconds);

  StepTimes times() const;  // zeros before the first step

  // Global batch / median step; 0 before the first step.
  double samples_per_s(int64_t global_batch) const;

 private:
  static constexpr size_t kPhases = 6;
  struct Step {
    std::array<double, kPhases> phases{};
    double total = 0;
  };

  std::vector<Step> measured() const;

  std::vector<Step> warmup_;  // the first kWarmupSteps steps
  std::vector<Step> steps_;   // every stride_-th one after them
  Step current_;
  int64_t seen_ = 0;  // steps after the warm-up
  int64_t stride_ = 1;
  int64_t logged_ = 0;  // steps, those of the warm-up included
  double logging_s_ = 0;
};

}  // namespace largo::metrics
