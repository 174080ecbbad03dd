#include "trainer/optim/clip.h"

#include <ATen/ATen.h>

namespace largo::optim {

void clip_gradients(std::span<const at::Tensor> gradients, const at::Tensor& norm, double most) {
  const at::NoGradGuard no_grad;
  const at::Tensor factor = at::reciprocal(norm + 1e-6).mul_(most).clamp_max_(1.0);
  for (const at::Tensor& gradient : gradients) gradient.mul_(factor.to(gradient.scalar_type()));
}

}  // namespace largo::optim
