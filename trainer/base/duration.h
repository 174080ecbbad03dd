// Durations as users write them: "5ep", "300steps", "1000000samples"; times: "15min", "600s".
#pragma once

#include <string>
#include <string_view>

#include "comm/base/option_table.h"

namespace largo {

// A length of training. Only BatchPlan knows how many steps it is.
struct Duration {
  enum class Unit { kEpochs, kSteps, kSamples };
  double amount = 0;  // >= 0; whole for steps and samples
  Unit unit = Unit::kSteps;

  friend bool operator==(const Duration&, const Duration&) = default;
};

// A length of time.
struct Time {
  double seconds = 0;

  friend bool operator==(const Time&, const Time&) = default;
};

template <>
struct OptionCodec<Duration> {
  static constexpr const char* kType = "duration (5ep, 300steps or 1000000samples)";
  static Duration parse(std::string_view text);
  static std::string print(const Duration& value);
};

template <>
struct OptionCodec<Time> {
  static constexpr const char* kType = "time (600s, 15min or 2h)";
  static Time parse(std::string_view text);
  static std::string print(const Time& value);
};

}  // namespace largo
