// Options of checkpoints.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"

namespace largo::checkpoint {

struct CheckpointOptions {
  std::variant<Duration, Time> every = Duration{1, Duration::Unit::kEpochs};
  int64_t keep = 2;             // newest complete ones that stay
  std::string resume = "auto";  // auto | never | the folder of a checkpoint
};

void declare_options(OptionTable& table, CheckpointOptions& options);  // checkpoint.*

}  // namespace largo::checkpoint
