#include "trainer/optim/adaptive_rules.h"

#include <ATen/ATen.h>

namespace largo::optim {

namespace {

// average = decay * average + (1 - decay) * x * x
void average_square(at::TensorList averages, at::TensorList x, double decay) {
  at::_foreach_mul_(averages, decay);
  at::_foreach_addcmul_(averages, x, x, 1 - decay);
}

// average = decay * average + (1 - decay) * x
void average(at::TensorList averages, at::TensorList x, double decay) {
  at::_foreach_mul_(averages, decay);
  at::_foreach_add_(averages, x, 1 - decay);
}

}  // namespace

void update_by_operations(const AdagradRule& rule, const ParameterGroup& group,
                          at::TensorList gradients) {
  const std::vector<at::Tensor> decayed = with_decay(gradients, group, rule.decay);
  at::_foreach_addcmul_(group.slots[0], decayed, decayed);
  const std::vector<at::Tensor> roots = at::_foreach_sqrt(group.slots[0]);
  at::_foreach_add_(roots, rule.epsilon);
  at::_foreach_addcdiv_(group.weights, decayed, roots, -rule.lr);
}

void update_by_operations(const AdadeltaRule& rule, const ParameterGroup& group,
                          at::TensorList gradients) {
  const std::vector<at::Tensor> decayed = with_decay(gradients, group, rule.decay);
  average_square(group.slots[0], decayed, rule.rho);
  const std::vector<at::Tensor> steps = at::_foreach_add(group.slots[1], rule.epsilon);
  at::_foreach_sqrt_(steps);
  const std::vector<at::Tensor> roots = at::_foreach_add(group.slots[0], rule.epsilon);
  at::_foreach_sqrt_(roots);
  at::_foreach_div_(steps, roots);
  at::_foreach_mul_(steps, decayed);
  average_square(group.slots[1], steps, rule.rho);
  at::_foreach_add_(group.weights, steps, -rule.lr);
}

void update_by_operations(const RmspropRule& rule, const ParameterGroup& group,
                          at::TensorList gradients) {
  const std::vector<at::Tensor> decayed = with_decay(gradients, group, rule.decay);
  average_square(group.slots[0], decayed, rule.alpha);
  std::vector<at::Tensor> roots;
  if (rule.centered) {
    average(group.slots[1], decayed, rule.alpha);
    roots = at::_foreach_addcmul(group.slots[0], group.slots[1], group.slots[1], -1);
    at::_foreach_clamp_min_(roots, 0);  // rounding may leave a variance below 0
    at::_foreach_sqrt_(roots);
  } else {
    roots = at::_foreach_sqrt(group.slots[0]);
  }
  at::_foreach_add_(roots, rule.epsilon);
  if (rule.has_momentum) {
    at::_foreach_mul_(group.slots.back(), rule.m);
    at::_foreach_addcdiv_(group.slots.back(), decayed, roots);
    at::_foreach_add_(group.weights, group.slots.back(), -rule.lr);
  } else {
    at::_foreach_addcdiv_(group.weights, decayed, roots, -rule.lr);
  }
}

void update_by_operations(const LionRule& rule, const ParameterGroup& group,
                          at::TensorList gradients) {
  if (rule.decay > 0) at::_foreach_mul_(group.weights, 1 - rule.lr * rule.decay);
  const std::vector<at::Tensor> signs = at::_foreach_mul(group.slots[0], rule.b1);
  at::_foreach_add_(signs, gradients, 1 - rule.b1);
  at::_foreach_sign_(signs);
  at::_foreach_add_(group.weights, signs, -rule.lr);
  average(group.slots[0], gradients, rule.b2);
}

}  // namespace largo::optim
