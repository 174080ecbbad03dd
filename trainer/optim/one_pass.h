// Updates on the CPU that read and write each tensor's memory once, where ATen's operations would
// go through it several times.
#pragma once

#include <ATen/core/Tensor.h>

#include "trainer/optim/momentum.h"

namespace largo::optim {

// Whether the functions below know what to do with such tensors: on the CPU, float32 or float64.
bool updates_in_one_pass(const at::Tensor& tensor);

// x = trust * (gradient + decay * weight), then momentum_update() with it. All lie alike in memory
// and are dense; `buffer` may be undefined: then there is no momentum. Element by element, so that
// no bit depends on the number of threads.
struct MomentumPass {
  double trust = 1;
  double decay = 0;
  StepMomentum m = {};
  double lr = 0;
};
void momentum_in_one_pass(const MomentumOptions& options, const MomentumPass& pass,
                          const at::Tensor& weight, const at::Tensor& gradient,
                          const at::Tensor& buffer);

// u = (average' / correction1) / (sqrt(average_square') / sqrt(correction2) + epsilon) +
// decay * weight, where average' = b1 * average + (1 - b1) * g, average_square' likewise of g * g,
// g = gradient / divisor. Both are left updated; u is written to `update`. Returns the norms of
// weight and u, summed up in double precision from what is in a cache anyway.
struct LambPass {
  double divisor = 1;
  double b1 = 0, b2 = 0;
  double correction1 = 1, correction2 = 1;
  double epsilon = 0;
  double decay = 0;
};
struct LambNorms {
  double weight = 0, update = 0;
};
LambNorms lamb_in_one_pass(const LambPass& pass, const at::Tensor& weight,
                           const at::Tensor& gradient, const at::Tensor& average,
                           const at::Tensor& average_square, const at::Tensor& update);

}  // namespace largo::optim
