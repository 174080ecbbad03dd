// What values come to in a run: those that lr.scaling changes with the batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "comm/base/option_table.h"
#include "trainer/config/run_config.h"

namespace largo::config {

// "× 8 = 0.8 at batch 1024" for lr.base: 0.1 at 128; empty where nothing is changed, or where the
// batch depends on the number of ranks, which `ranks` does not give.
std::string effective_words(const RunConfig& config, const Option& option,
                            std::optional<int64_t> ranks = {});

}  // namespace largo::config
