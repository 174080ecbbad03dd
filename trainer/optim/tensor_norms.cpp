#include "trainer/optim/tensor_norms.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "comm/base/error.h"
#include "comm/base/squares.h"
#include "trainer/optim/one_pass.h"
#include "trainer/optim/one_pass_loop.h"

namespace largo::optim {

namespace {

// Piece by piece, so that no bit depends on the number of threads.
template <class T>
double squares_of(const at::Tensor& tensor) {
  constexpr int64_t kPiece = 1 << 16;
  const T* const values = tensor.const_data_ptr<T>();
  const int64_t count = tensor.numel();
  const int64_t pieces = (count + kPiece - 1) / kPiece;
  std::vector<double> sums(static_cast<size_t>(pieces));
  each_piece(pieces, kPiece, [&](int64_t p) {
    sums[static_cast<size_t>(p)] =
        sum_of_squares(values + p * kPiece, std::min(kPiece, count - p * kPiece));
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

bool has_host_norm(const at::Tensor& tensor) {
  return updates_in_one_pass(tensor) && tensor.is_non_overlapping_and_dense();
}

}  // namespace

double host_norm(const at::Tensor& tensor) {
  LARGO_CHECK(has_host_norm(tensor), "a tensor of ", tensor.dtype(), " on ", tensor.device());
  const bool is_single = tensor.scalar_type() == at::kFloat;
  return std::sqrt((is_single ? squares_of<float> : squares_of<double>)(tensor));
}

at::Tensor tensor_norms(at::TensorList tensors) {
  const at::NoGradGuard no_grad;
  if (tensors.front().is_cuda()) {  // two kernels for all tensors instead of two for each
    return at::stack(at::_foreach_norm(tensors, 2, at::kDouble));
  }
  at::Tensor norms = at::empty({static_cast<int64_t>(tensors.size())}, at::kDouble);
  double* norm = norms.mutable_data_ptr<double>();
  for (const at::Tensor& tensor : tensors) {
    *norm++ = has_host_norm(tensor)
                  ? host_norm(tensor)
                  : at::linalg_vector_norm(tensor.reshape({-1}), 2, at::OptionalIntArrayRef(),
                                           false, at::kDouble)
                        .item<double>();
  }
  return norms;
}

}  // namespace largo::optim
