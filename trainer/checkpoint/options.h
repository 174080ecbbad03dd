// Options of checkpoints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"

namespace largo::checkpoint {

struct CheckpointOptions {
  std::variant<Duration, Time> every = Duration{1, Duration::Unit::kEpochs};
  int64_t keep = 2;                     // newest complete ones that stay
  bool keep_best = true;                // and the one of the highest validation top-1
  std::string resume = "auto";          // auto | never | the folder of a checkpoint
  std::vector<std::string> allow = {};  // keys and sections that a resumed run may change
};

void declare_options(OptionTable& table, CheckpointOptions& options);  // checkpoint.*

}  // namespace largo::checkpoint

namespace largo {

// Told apart by their units.
template <>
struct OptionCodec<std::variant<Duration, Time>> {
  static constexpr const char* kType =
      "duration or time (5ep, 300steps, 1000000samples, 15min or 600s)";
  static std::variant<Duration, Time> parse(std::string_view text);
  static std::string print(const std::variant<Duration, Time>& value);
};

}  // namespace largo
