#include "trainer/optim/tensor_norms.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "comm/base/squares.h"

namespace largo::optim {

namespace {

// Piece by piece, so that no bit depends on the number of threads.
double squares_of(const at::Tensor& tensor) {
  constexpr int64_t kPiece = 1 << 16;
  const float* const values = tensor.const_data_ptr<float>();
  const int64_t count = tensor.numel();
  const int64_t pieces = (count + kPiece - 1) / kPiece;
  std::vector<double> sums(static_cast<size_t>(pieces));
  at::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      sums[static_cast<size_t>(p)] =
          sum_of_squares(values + p * kPiece, std::min(kPiece, count - p * kPiece));
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace

at::Tensor tensor_norms(at::TensorList tensors) {
  const at::NoGradGuard no_grad;
  if (tensors.front().is_cuda()) {  // two kernels for all tensors instead of two for each
    return at::stack(at::_foreach_norm(tensors, 2, at::kDouble));
  }
  at::Tensor norms = at::empty({static_cast<int64_t>(tensors.size())}, at::kDouble);
  double* norm = norms.mutable_data_ptr<double>();
  for (const at::Tensor& tensor : tensors) {
    if (tensor.scalar_type() == at::kFloat && tensor.is_non_overlapping_and_dense()) {
      *norm++ = std::sqrt(squares_of(tensor));
      continue;
    }
    // In the order of memory: a channels_last tensor is not copied.
    const at::Tensor flat = tensor.is_non_overlapping_and_dense()
                                ? tensor.as_strided({tensor.numel()}, {1})
                                : tensor.reshape({-1});
    *norm++ = at::linalg_vector_norm(flat, 2, at::OptionalIntArrayRef(), false, at::kDouble)
                  .item<double>();
  }
  return norms;
}

}  // namespace largo::optim
