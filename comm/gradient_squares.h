// Squares of gradients, summed where the gradients are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace largo::comm {

// The sum, over the micro-batches of a step on this rank, of the squared norm of each one's mean
// gradient. In double precision; what is not finite makes a sum that is not. On a device the host
// does not wait. Not thread-safe.
class GradientSquares {
 public:
  void begin_step();

  // What comes from here on is of one micro-batch; multiplied by `to_mean` it is the mean over its
  // samples. Of one without samples, whose gradient is zero, `to_mean` may be 0.
  void begin_micro_batch(double to_mean);

  // Gradients of some parameters, of this micro-batch alone; each parameter once.
  void add(const std::vector<at::Tensor>& gradients);

  // Writes the sum so far into `slot`, of one element.
  void store(const at::Tensor& slot);

 private:
  void close_micro_batch();

  double to_mean_ = 1;
  double on_host_ = 0;             // of what is on the CPU
  std::vector<at::Tensor> norms_;  // of what is elsewhere, in the micro-batch under way
  at::Tensor elsewhere_;           // the sum over those before it; undefined: none
};

}  // namespace largo::comm
