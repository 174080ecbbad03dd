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

// m of the absorbed form at learning rate `lr` after `last_lr`: momentum, or with correction
// momentum * lr / last_lr. After a learning rate of 0 (and before the first step) there is nothing
// in the buffer to correct.
double absorbed_momentum(const MomentumOptions& options, double momentum, double lr,
                         double last_lr);

// Outside: u = m * u + x, w -= lr * u (Nesterov: lr * (x + m * u)). Absorbed: v = m * v + lr * x,
// w -= v (Nesterov: m * v + lr * x); m is absorbed_momentum() there. Without momentum at any step
// there need be no `buffers`; with m = 0 at this step they hold x, or lr * x, afterwards.
void momentum_update(const MomentumOptions& options, double m, double lr, at::TensorList weights,
                     at::TensorList updates, at::TensorList buffers);

}  // namespace largo::optim
