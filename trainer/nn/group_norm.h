#pragma once

#include <torch/torch.h>

namespace largo::nn {

// weight * (x - mean) / sqrt(variance + epsilon) + bias with mean and biased variance over
// (channels / groups, height, width) of each image; x [n, channels, height, width] with n > 0,
// weight and bias [channels] or undefined. Of x's dtype, in x's memory format, and so is the
// gradient of x; statistics and arithmetic are float32, or float64 where x is.
// From plain tensor operations, for GPUs: at::group_norm returns NCHW there whatever it is given.
// Nothing here makes the host wait.
// Wu and He 2018, section 3.
torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double epsilon);

}  // namespace largo::nn
