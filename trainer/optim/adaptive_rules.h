// The updates of adagrad, adadelta, rmsprop and lion. g' = g + decay * w; the numbers are those of
// one step.
#pragma once

#include <ATen/core/Tensor.h>

#include "trainer/optim/flat_optimizer.h"

namespace largo::optim {

// PyTorch's: s += g'^2, w -= lr * g' / (sqrt(s) + epsilon). Slots: s.
struct AdagradRule {
  double lr = 0, decay = 0;
  double epsilon = 0;
};

// PyTorch's: v = rho * v + (1 - rho) * g'^2, d = sqrt(a + epsilon) / sqrt(v + epsilon) * g',
// a = rho * a + (1 - rho) * d^2, w -= lr * d. Slots: v, a.
struct AdadeltaRule {
  double lr = 0, decay = 0;
  double rho = 0, epsilon = 0;
};

// PyTorch's, with epsilon outside of the root: v = alpha * v + (1 - alpha) * g'^2,
// x = g' / (sqrt(v) + epsilon), b = m * b + x, w -= lr * b, without momentum w -= lr * x; centered:
// sqrt(v less the square of the average of g'). Slots: v, the average if centered, b if there is
// momentum.
struct RmspropRule {
  double lr = 0, decay = 0;
  double m = 0;
  double alpha = 0, epsilon = 0;
  bool centered = false, has_momentum = false;
};

// w *= 1 - lr * decay; w -= lr * sign(b1 * a + (1 - b1) * g); then a = b2 * a + (1 - b2) * g.
// Slots: a.
struct LionRule {
  double lr = 0, decay = 0;
  double b1 = 0, b2 = 0;
};

// By ATen's operations, on any device, for tensors of any floating-point type.
void update_by_operations(const AdagradRule& rule, const ParameterGroup& group,
                          at::TensorList gradients);
void update_by_operations(const AdadeltaRule& rule, const ParameterGroup& group,
                          at::TensorList gradients);
void update_by_operations(const RmspropRule& rule, const ParameterGroup& group,
                          at::TensorList gradients);
void update_by_operations(const LionRule& rule, const ParameterGroup& group,
                          at::TensorList gradients);

// The same in one pass over memory, for tensors that updates_in_one_pass(). Element by element, so
// that no bit depends on the number of threads.
void update_in_one_pass(const AdagradRule& rule, const ParameterGroup& group,
                        at::TensorList gradients);
void update_in_one_pass(const AdadeltaRule& rule, const ParameterGroup& group,
                        at::TensorList gradients);
void update_in_one_pass(const RmspropRule& rule, const ParameterGroup& group,
                        at::TensorList gradients);
void update_in_one_pass(const LionRule& rule, const ParameterGroup& group,
                        at::TensorList gradients);

}  // namespace largo::optim
