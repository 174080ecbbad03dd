// The batch arithmetic: the only place that knows how a global batch is split over ranks and
// micro-batches, and how many steps a duration is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"
#include "trainer/run_options.h"

namespace largo {

// Any consistent subset; global or per_rank must be there.
struct BatchOptions {
  std::optional<int64_t> global;     // samples of one step
  std::optional<int64_t> per_rank;   // samples of one step on one rank
  std::optional<int64_t> micro;      // samples that one forward pass sees
  std::optional<int64_t> max_micro;  // at most so many; the accumulation follows
};

void declare_options(OptionTable& table, BatchOptions& options);  // batch.*

// Wrong at any world size; what depends on the world is BatchPlan::make's to refuse.
std::vector<OptionProblem> check(const BatchOptions& options);

}  // namespace largo
