// run.determinism: what a run promises about its bits, and what it cannot promise them with.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/base/option_table.h"
#include "comm/options.h"
#include "trainer/nn/options.h"
#include "trainer/run_options.h"

namespace largo {

// Under world_size: samples of different virtual workers must not meet before the tree sums them,
// and nothing may be rounded between. Under run, too, nothing may be chosen by speed. The batch is
// BatchPlan's to check.
std::vector<OptionProblem> check_determinism(const RunOptions& run, const TrainOptions& train,
                                             const nn::NormOptions& norm,
                                             const comm::CommOptions& comm);

// What is promised on CPUs only.
std::vector<OptionProblem> check_determinism_on(const RunOptions& run, bool on_gpus);

// What the global batch is cut into whatever the world; 0: nothing.
int64_t virtual_workers(const RunOptions& run);

}  // namespace largo
