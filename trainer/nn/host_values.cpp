#include "trainer/nn/host_values.h"

#include <algorithm>

namespace largo::nn {

namespace {

template <class Value>
torch::Tensor values_of(std::span<const Value> values, torch::Device device) {
  const torch::Tensor host = empty_for(device, {static_cast<int64_t>(values.size())},
                                       c10::CppTypeToScalarType<Value>::value);
  std::ranges::copy(values, host.mutable_data_ptr<Value>());
  return send(host, device);
}

}  // namespace

torch::Tensor empty_for(torch::Device device, at::IntArrayRef sizes, torch::Dtype dtype) {
  return torch::empty(sizes, torch::TensorOptions(dtype).pinned_memory(device.is_cuda()));
}

torch::Tensor send(const torch::Tensor& host, torch::Device device) {
  // The caching allocator of pinned memory hands a block out again only after its copies are done.
  return host.to(device, /*non_blocking=*/device.is_cuda());
}

torch::Tensor host_values(std::span<const double> values, torch::Device device) {
  return values_of(values, device);
}

torch::Tensor host_values(std::span<const int32_t> values, torch::Device device) {
  return values_of(values, device);
}

}  // namespace largo::nn
