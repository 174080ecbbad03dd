#include "trainer/data/tensor_pool.h"

#include <ATen/ops/empty.h>

#include <atomic>

namespace largo::data {

at::Tensor TensorPool::take(int64_t size, at::ScalarType dtype) {
  // Nobody but the pool refers to it, so nobody else can begin to.
  const auto is_free = [](const at::Tensor& tensor) { return tensor.storage().use_count() == 1; };
  const std::lock_guard lock(mutex_);
  for (const at::Tensor& tensor : tensors_) {
    if (tensor.numel() < size || tensor.scalar_type() != dtype || !is_free(tensor)) continue;
    std::atomic_thread_fence(std::memory_order_acquire);  // the last user's reads come before
    return tensor.narrow(0, 0, size);
  }
  std::erase_if(tensors_, is_free);  // too small
  at::Tensor made = at::empty({size}, at::TensorOptions(dtype).pinned_memory(pinned_));
  if (tensors_.size() < most_) tensors_.push_back(made);
  return made.narrow(0, 0, size);  // another tensor on the same storage
}

}  // namespace largo::data
