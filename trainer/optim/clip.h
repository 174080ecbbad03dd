// Gradient clipping by global norm.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

namespace largo::optim {

// Scales the gradients in place by min(1, most / (norm + 1e-6)), where `norm` is grad_norm() of
// them: torch.nn.utils.clip_grad_norm_. The host does not wait for the norm.
void clip_gradients(std::span<const at::Tensor> gradients, const at::Tensor& norm, double most);

}  // namespace largo::optim
