// Values that the host computed, on the device that needs them, without making the host wait.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>

namespace largo::nn {

// Memory on the host to write values for `device` into; uninitialized. Pinned for a GPU: from
// pageable memory every copy would stall the host until the GPU has come that far.
torch::Tensor empty_for(torch::Device device, at::IntArrayRef sizes, torch::Dtype dtype);

// A tensor of empty_for(device, …) on that device: a copy on the current stream of a GPU, `host`
// itself on the host. `host` may be dropped at once but not be written any more.
torch::Tensor send(const torch::Tensor& host, torch::Device device);

// The values as a tensor of one dimension and their own type.
torch::Tensor host_values(std::span<const double> values, torch::Device device);
torch::Tensor host_values(std::span<const int32_t> values, torch::Device device);

}  // namespace largo::nn
