// The memory format that convolutions and pooling run fastest in.
#pragma once

#include <torch/torch.h>

namespace largo::nn {

// The tensor itself where its strides are channels_last ones, else a copy. Unlike contiguous(), it
// does not take NCHW strides for channels_last ones where there is one channel: pooling and
// convolution would choose their slow paths by them.
torch::Tensor channels_last(const torch::Tensor& images);

// Gives every 4-d parameter channels_last strides, without changing its values.
void make_channels_last(torch::nn::Module& module);

}  // namespace largo::nn
