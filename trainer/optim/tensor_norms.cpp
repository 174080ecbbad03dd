#include "trainer/optim/tensor_norms.h"

#include <ATen/ATen.h>

#include <vector>

namespace largo::optim {

at::Tensor tensor_norms(at::TensorList tensors) {
  const at::NoGradGuard no_grad;
  if (tensors.front().is_cuda()) {  // two kernels for all tensors instead of two for each
    return at::stack(at::_foreach_norm(tensors, 2, at::kDouble));
  }
  std::vector<at::Tensor> norms;
  for (const at::Tensor& tensor : tensors) {
    // In the order of memory: a channels_last tensor is not copied.
    const at::Tensor flat = tensor.is_non_overlapping_and_dense()
                                ? tensor.as_strided({tensor.numel()}, {1})
                                : tensor.reshape({-1});
    norms.push_back(at::linalg_vector_norm(flat, 2, at::OptionalIntArrayRef(), false, at::kDouble));
  }
  return at::stack(norms);
}

}  // namespace largo::optim
