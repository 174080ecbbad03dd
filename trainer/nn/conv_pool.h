// A convolution and the 2 x 2 max-pooling of what it makes.
#pragma once

#include <torch/torch.h>

namespace largo::nn {

// max_pool2d(conv2d(x, weight, bias), 2, 2). On CPUs in float32, and in bfloat16 under autocast,
// the bias is added after pooling (in float32), which makes the same sums of a quarter as many
// numbers, and nothing is saved for backward but one byte per pooled value; elsewhere by ATen's
// operations. Gradients have the type of what they are the gradient of. Where several of the four
// pixels round to one sum the gradient may go to another of them than ATen's. No bit depends on the
// number of threads.
torch::Tensor conv_max_pool(const torch::Tensor& x, const torch::Tensor& weight,
                            const torch::Tensor& bias);

// The same, each image's values in one row in the order channel, height, width: flatten(1) without
// a pass of its own.
torch::Tensor conv_max_pool_flat(const torch::Tensor& x, const torch::Tensor& weight,
                                 const torch::Tensor& bias);

}  // namespace largo::nn
