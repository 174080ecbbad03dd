#include "trainer/nn/batch_norm_kernels.h"

namespace largo::nn {

namespace {

// Welford's algorithm, as batch_norm_stats has it, but for its last step: that one returns
// 1 / sqrt(variance + epsilon), from which a variance far below epsilon cannot be told any more.
std::tuple<torch::Tensor, torch::Tensor> statistics(const torch::Tensor& x) {
  return at::batch_norm_update_stats(x, /*running_mean=*/{}, /*running_var=*/{}, /*momentum=*/0);
}

torch::Tensor normalize(const torch::Tensor& x, const torch::Tensor& weight,
                        const torch::Tensor& bias, const torch::Tensor& mean,
                        const torch::Tensor& inverse_sigma) {
  return at::batch_norm_elemt(x, weight, bias, mean, inverse_sigma, /*eps=*/0);  // eps: not used
}

std::tuple<torch::Tensor, torch::Tensor, torch::Tensor, torch::Tensor> sums(
    const torch::Tensor& dy, const torch::Tensor& x, const torch::Tensor& mean,
    const torch::Tensor& inverse_sigma, const torch::Tensor& weight) {
  return at::batch_norm_backward_reduce(dy, x, mean, inverse_sigma, weight, /*input_g=*/true,
                                        /*weight_g=*/true, /*bias_g=*/true);
}

torch::Tensor input_gradient(const torch::Tensor& dy, const torch::Tensor& x,
                             const torch::Tensor& mean, const torch::Tensor& inverse_sigma,
                             const torch::Tensor& weight, const torch::Tensor& sum_dy,
                             const torch::Tensor& sum_dy_xmu, const torch::Tensor& counts) {
  return at::batch_norm_backward_elemt(dy, x, mean, inverse_sigma, weight, sum_dy, sum_dy_xmu,
                                       counts);
}

}  // namespace

BatchNormKernels cuda_batch_norm_kernels() {
  return {.statistics = statistics,
          .normalize = normalize,
          .sums = sums,
          .input_gradient = input_gradient};
}

}  // namespace largo::nn
