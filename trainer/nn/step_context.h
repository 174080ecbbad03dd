// What a forward pass must know about the step it belongs to.
#pragma once

#include <cstdint>
#include <span>

#include "trainer/base/sample_key.h"

namespace largo::nn {

// Comes from the batch plan, so that no layer asks the other ranks for counts. The spans must stay
// alive until backward is done.
struct StepContext {
  bool training = false;
  int64_t step = 0;  // completed updates
  // Of this micro-batch, one count per rank of the normalization group, in the group's order; zeros
  // are legal.
  std::span<const int64_t> samples_per_rank = {};
  int64_t step_samples = 0;              // of the whole step: all ranks, all micro-batches
  std::span<const SampleKey> keys = {};  // of this rank's samples of this micro-batch
};

}  // namespace largo::nn
