#include "trainer/optim/momentum.h"

#include <ATen/ATen.h>

namespace largo::optim {

StepMomentum absorbed_momentum(const MomentumOptions& options, double momentum, double lr,
                               double last_lr) {
  if (!options.correction || last_lr == 0) return plain_momentum(momentum);
  return {.kept = momentum * (lr / last_lr), .ahead = momentum};
}

void momentum_update(const MomentumOptions& options, const StepMomentum& m, double lr,
                     at::TensorList weights, at::TensorList updates, at::TensorList buffers) {
  if (buffers.empty()) {
    at::_foreach_add_(weights, updates, -lr);
    return;
  }
  const bool outside = options.form == MomentumForm::kOutside;
  const double of_update = outside ? 1 : lr;  // in the buffer
  const double of_buffer = outside ? lr : 1;  // in the step
  at::_foreach_mul_(buffers, m.kept);
  at::_foreach_add_(buffers, updates, of_update);
  if (options.nesterov) {
    at::_foreach_add_(weights, updates, -lr);
    at::_foreach_add_(weights, buffers, -of_buffer * m.ahead);
  } else {
    at::_foreach_add_(weights, buffers, -of_buffer);
  }
}

}  // namespace largo::optim
