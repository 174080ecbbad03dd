#include "trainer/nn/memory_format.h"

namespace largo::nn {

torch::Tensor channels_last(const torch::Tensor& images) {
  const int64_t channels = images.size(1);
  const bool already = images.is_contiguous(at::MemoryFormat::ChannelsLast) &&
                       images.stride(1) == 1 && images.stride(3) == channels;
  if (already || images.numel() == 0) return images;
  return torch::empty(images.sizes(), images.options(), at::MemoryFormat::ChannelsLast)
      .copy_(images);
}

void make_channels_last(torch::nn::Module& module) {
  for (torch::Tensor& parameter : module.parameters()) {
    if (parameter.dim() == 4) parameter.set_data(channels_last(parameter.detach()));
  }
}

}  // namespace largo::nn
