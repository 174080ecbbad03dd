// The running statistics of all batch normalization layers of a model, as one tensor per step.
#pragma once

#include <vector>

#include "trainer/nn/batch_norm.h"
#include "trainer/nn/model.h"

namespace largo::nn {

// Per step: begin_step(), the forward passes of all micro-batches, a sum of pending() over all
// ranks, apply(). Every rank then holds the same buffers (BatchNorm says what they are).
// Construct it once the model has its final dtype and device; the model must outlive it.
class RunningStatistics {
 public:
  explicit RunningStatistics(Model& model);

  // What this rank's forward passes have deposited since begin_step(): one dimension, of the
  // buffers' dtype, always the same memory; empty where no layer has running statistics.
  torch::Tensor pending() const { return pending_; }

  void begin_step();  // pending() = 0
  void apply();       // blends pending() into the buffers

 private:
  std::vector<BatchNorm*> layers_;
  torch::Tensor pending_;
};

}  // namespace largo::nn
