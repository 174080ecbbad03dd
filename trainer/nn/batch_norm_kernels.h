// The kernels that batch normalization over several ranks is made of.
#pragma once

#include <torch/torch.h>

#include <tuple>

namespace largo::nn {

// x and dy are [n, channels, height, width] with n > 0, both contiguous in the same memory format
// and of one dtype; what is returned for them has x's dtype and memory format. All else is of the
// accumulation dtype (float32; float64 where x is), contiguous, [channels] each. Nothing here makes
// the host wait.
struct BatchNormKernels {
  // Mean and biased variance.
  std::tuple<torch::Tensor, torch::Tensor> (*statistics)(const torch::Tensor& x);

  // weight * (x - mean) * inverse_sigma + bias
  torch::Tensor (*normalize)(const torch::Tensor& x, const torch::Tensor& weight,
                             const torch::Tensor& bias, const torch::Tensor& mean,
                             const torch::Tensor& inverse_sigma);

  // The sums of dy and of dy * (x - mean); and those of dy * (x - mean) * inverse_sigma and of dy,
  // which are the gradients of weight and bias.
  std::tuple<torch::Tensor, torch::Tensor, torch::Tensor, torch::Tensor> (*sums)(
      const torch::Tensor& dy, const torch::Tensor& x, const torch::Tensor& mean,
      const torch::Tensor& inverse_sigma, const torch::Tensor& weight);

  // weight * inverse_sigma * (dy - sum_dy / N - (x - mean) * inverse_sigma^2 * sum_dy_xmu / N),
  // where N is the sum of `counts`, int32 of any length.
  torch::Tensor (*input_gradient)(const torch::Tensor& dy, const torch::Tensor& x,
                                  const torch::Tensor& mean, const torch::Tensor& inverse_sigma,
                                  const torch::Tensor& weight, const torch::Tensor& sum_dy,
                                  const torch::Tensor& sum_dy_xmu, const torch::Tensor& counts);
};

// ATen's, of which the last three exist for GPUs only.
BatchNormKernels cuda_batch_norm_kernels();

}  // namespace largo::nn
