#include "comm/gradient_squares.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <cfloat>
#include <cmath>
#include <utility>

#include "comm/base/squares.h"

namespace largo::comm {

namespace {

double sum_of_squares(const at::Tensor& given) {
  const at::Tensor tensor =
      given.is_non_overlapping_and_dense() ? given : given.contiguous();  // as an expanded sum is
  if (tensor.scalar_type() == at::kFloat) {
    return largo::sum_of_squares(tensor.const_data_ptr<float>(), tensor.numel());
  }
  if (tensor.scalar_type() == at::kDouble) {
    return largo::sum_of_squares(tensor.const_data_ptr<double>(), tensor.numel());
  }
  return sum_of_squares(tensor.to(at::kDouble));
}

}  // namespace

void GradientSquares::begin_step() {
  on_host_ = 0;
  norms_.clear();
  elsewhere_.reset();
  to_mean_ = 1;
}

void GradientSquares::begin_micro_batch(double to_mean) {
  close_micro_batch();
  to_mean_ = to_mean;
}

void GradientSquares::add(const std::vector<at::Tensor>& gradients) {
  if (gradients.empty()) return;
  const at::NoGradGuard no_grad;
  if (gradients.front().is_cpu()) {
    for (const at::Tensor& gradient : gradients) {
      on_host_ += to_mean_ * to_mean_ * sum_of_squares(gradient);
    }
    return;
  }
  for (at::Tensor& norm : at::_foreach_norm(gradients, 2, at::kDouble)) {
    norms_.push_back(std::move(norm));
  }
}

void GradientSquares::close_micro_batch() {
  if (norms_.empty()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor norm = at::linalg_vector_norm(at::stack(norms_), 2) * to_mean_;
  elsewhere_ = elsewhere_.defined() ? at::addcmul(elsewhere_, norm, norm) : norm * norm;
  norms_.clear();
}

void GradientSquares::store(const at::Tensor& slot) {
  close_micro_batch();
  if (elsewhere_.defined()) {
    slot.copy_(elsewhere_);
  } else {
    // fill_ throws for what the dtype cannot hold; a diverged run must be told as such.
    const bool too_large = slot.scalar_type() == at::kFloat && on_host_ > FLT_MAX;
    slot.fill_(too_large ? INFINITY : on_host_);
  }
}

}  // namespace largo::comm
