// Learning-rate options and runs for the tests of schedules.
#pragma once

#include <cstdint>

#include "trainer/base/duration.h"
#include "trainer/optim/lr_schedule.h"
#include "trainer/optim/options.h"

namespace largo::optim {

inline constexpr double kStepsPerEpoch = 10;

inline ScheduleInputs inputs(int64_t global_batch, int64_t total_steps) {
  return {
      .global_batch = global_batch, .total_steps = total_steps, .steps_of = [](const Duration& d) {
        return d.unit == Duration::Unit::kEpochs ? d.amount * kStepsPerEpoch : d.amount;
      }};
}

inline Duration steps(double n) { return {n, Duration::Unit::kSteps}; }

inline LrOptions linear() {
  LrOptions options;
  options.base = 0.1;
  options.base_batch = 128;
  return options;
}

inline LrOptions with_warmup(WarmupStart start, double length) {
  LrOptions options = linear();
  options.warmup = {WarmupKind::kGradual, steps(length), start};
  return options;
}

inline constexpr WarmupStart kBase = {WarmupStart::Kind::kBase, 0};
inline constexpr WarmupStart kZero = {WarmupStart::Kind::kZero, 0};

inline LrOptions of_kind(PolicyKind kind) {
  LrOptions options = linear();
  options.policy.kind = kind;
  return options;
}

}  // namespace largo::optim
