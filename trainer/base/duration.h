// Durations as users write them: "5ep", "300steps", "1000000samples".
#pragma once

#include <string>
#include <string_view>

#include "comm/base/option_table.h"
#include "comm/base/time.h"

namespace largo {

// A length of training. Only BatchPlan knows how many steps it is.
struct Duration {
  enum class Unit { kEpochs, kSteps, kSamples };
  double amount = 0;  // >= 0; whole for steps and samples
  Unit unit = Unit::kSteps;

  friend bool operator==(const Duration&, const Duration&) = default;
};

template <>
struct OptionCodec<Duration> {
  static constexpr const char* kType = "duration (5ep, 300steps or 1000000samples)";
  static Duration parse(std::string_view text);
  static std::string print(const Duration& value);
};

}  // namespace largo
