// Memory for tensors that are made again and again.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <mutex>
#include <vector>

namespace largo::data {

// Gives out tensors whose memory it takes back, by itself, once nobody refers to it any more. Large
// tensors are worth it: what a thread other than the main one allocates beyond 64 MiB comes from
// the system, page by page, and goes back to it. Thread-safe. Tensors may outlive the pool.
class TensorPool {
 public:
  // Keeps at most so many; more may be out, but are not used again. pinned: page-locked memory,
  // from which a GPU copies while the host goes on. Such a copy is no reference: who starts one
  // has to keep the tensor until it is complete, or another thread writes into what is read.
  explicit TensorPool(size_t most, bool pinned = false) : most_(most), pinned_(pinned) {}

  // One dimension, `size` elements, not initialized, in CPU memory; size may be 0.
  at::Tensor take(int64_t size, at::ScalarType dtype);

 private:
  size_t most_;
  bool pinned_;
  std::mutex mutex_;  // guards what follows
  std::vector<at::Tensor> tensors_;
};

}  // namespace largo::data
