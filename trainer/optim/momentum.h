// Momentum in both forms, for updates that already hold weight decay and trust ratio.
#pragma once

#include <ATen/core/Tensor.h>

#include "trainer/optim/optimizer_options.h"

namespace largo::optim {

struct MomentumOptions {
  bool nesterov = false;
  MomentumForm form = MomentumForm::kOutside;
  bool correction = false;
};

// The momentum of one step.
struct StepMomentum {
  double kept = 0;   // times what the buffer held before
  double ahead = 0;  // times what it holds then, where Nesterov's form looks ahead
};

// Of the form outside, and of the absorbed one without correction.
inline StepMomentum plain_momentum(double momentum) { return {momentum, momentum}; }

// Of the absorbed form at learning rate `lr` after `last_lr`. With correction the buffer, whose
// terms have last_lr in them, is taken to lr; from there one looks ahead by the momentum itself, so
// that the weights are those of the form outside. After a learning rate of 0 (and before the first
// step) there is nothing in the buffer to correct.
StepMomentum absorbed_momentum(const MomentumOptions& options, double momentum, double lr,
                               double last_lr);

// Outside: u = m * u + x, w -= lr * u (Nesterov: lr * (x + m' * u)). Absorbed: v = m * v + lr * x,
// w -= v (Nesterov: m' * v + lr * x). m is m.kept, m' is m.ahead. Without momentum at any step
// there need be no `buffers`; with m = 0 at this step they hold x, or lr * x, afterwards.
void momentum_update(const MomentumOptions& options, const StepMomentum& m, double lr,
                     at::TensorList weights, at::TensorList updates, at::TensorList buffers);

}  // namespace largo::optim
