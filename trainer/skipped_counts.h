// How many training samples were replaced, over all ranks.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "trainer/batch_plan.h"
#include "trainer/data/skipped_samples.h"

namespace largo {

// Of the first `completed` steps, by epoch, the same on every rank and at any world size; empty
// where there are none. A collective.
std::vector<int64_t> skipped_by_epoch(const data::SkippedSamples& mine, const BatchPlan& plan,
                                      int64_t completed, comm::Communicator& world);

}  // namespace largo
