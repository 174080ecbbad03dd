#include "trainer/optim/clip.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace largo::optim {

void clip_gradients(std::span<const at::Tensor> gradients, const at::Tensor& norm, double most) {
  const at::NoGradGuard no_grad;
  const at::Tensor factor = at::reciprocal(norm + 1e-6).mul_(most).clamp_max_(1.0);
  if (gradients.empty()) return;
  const at::ScalarType dtype = gradients.front().scalar_type();
  const bool one_dtype = std::ranges::all_of(
      gradients, [&](const at::Tensor& gradient) { return gradient.scalar_type() == dtype; });
  if (one_dtype) {  // on a GPU one kernel for all of them
    at::_foreach_mul_(at::TensorList(gradients.data(), gradients.size()), factor.to(dtype));
    return;
  }
  for (const at::Tensor& gradient : gradients) gradient.mul_(factor.to(gradient.scalar_type()));
}

}  // namespace largo::optim
