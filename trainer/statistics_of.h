// Over which samples normalization takes statistics: what a change of ranks or micro-batches may
// alter about a run.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/batch_plan.h"
#include "trainer/nn/options.h"

namespace largo {

// Equal for two plans of one global batch exactly where training takes the same course under both:
// where the sets of samples that share statistics are the same. Empty where every sample stands for
// itself. `group_ranks` consecutive ranks share sync_batch's statistics.
std::string statistics_of(const BatchPlan& plan, const nn::NormOptions& norm, int64_t group_ranks);

}  // namespace largo
