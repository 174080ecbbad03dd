#include "trainer/checkpoint/host_copy.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>

namespace largo::checkpoint {

namespace {

at::Tensor make_buffer(const at::Tensor& tensor) {
  return at::empty(tensor.sizes(), at::TensorOptions(tensor.scalar_type())
                                       .memory_format(at::MemoryFormat::Contiguous)
                                       .pinned_memory(!tensor.is_cpu()));
}

}  // namespace

void HostCopy::take(const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  copies_.resize(tensors.size());
  std::optional<at::Device> device;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    auto& [copied_name, copy] = copies_[i];
    copied_name = name;
    if (!copy.defined() || copy.sizes() != tensor.sizes() ||
        copy.scalar_type() != tensor.scalar_type()) {
      copy = make_buffer(tensor);
    }
    copy.copy_(tensor, /*non_blocking=*/true);
    if (!tensor.is_cpu()) device = tensor.device();
  }
  if (device) {
    const c10::impl::VirtualGuardImpl guard(device->type());
    guard.getStream(*device).synchronize();
  }
}

}  // namespace largo::checkpoint
