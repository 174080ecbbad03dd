// Euclidean norms of many tensors at once.
#pragma once

#include <ATen/core/Tensor.h>

namespace largo::optim {

// The norm of each tensor, summed up in double precision: one tensor of doubles on the tensors'
// device, so that the host need not wait for it. There must be a tensor.
at::Tensor tensor_norms(at::TensorList tensors);

// That of one tensor on the CPU, of float32 or float64 and dense, without operations.
double host_norm(const at::Tensor& tensor);

}  // namespace largo::optim
