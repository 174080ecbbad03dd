// Collectives on tensors: the one interface that everything distributed stands on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace largo::comm {

// kTreeSum: the sum in the order of comm/base/tree_order.h, with the ranks as leaves.
enum class ReduceOp { kSum, kMax, kTreeSum };

// A collective under way. wait() returns when its tensor may be read, or throws what the collective
// threw; it may be called once or more, or not at all. On the host it blocks the calling thread; on
// CUDA the current stream waits and the host does not.
class Work {
 public:
  Work() = default;  // already finished
  explicit Work(std::function<void()> wait) : wait_(std::move(wait)) {}
  void wait() const {
    if (wait_) wait_();
  }

 private:
  std::function<void()> wait_;
};

// A group of ranks, one of which is this object's.
//
// Every rank of the group calls the same collectives in the same order with tensors of the same
// shape and dtype; tensors are dense (contiguous in some memory format, the same on all ranks).
// One thread at a time may use an object; several objects may be used by several threads.
// All collectives of one communicator run one after the other, in the order of the calls.
// A collective that fails throws largo::Error; the communicator cannot be used after that.
// Ranks must all destroy it, or none: a destructor does not wait for other ranks.
class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Whether all_reduce returns before the reduction is done, so that it can hide behind other work.
  virtual bool is_asynchronous() const = 0;

  // Memory that this communicator reduces fastest from: one dimension, zeros. It may be used with
  // any communicator, and outlive this one.
  virtual at::Tensor allocate(int64_t elements, at::ScalarType dtype) = 0;

  // Replaces `tensor` on every rank by the sum (or maximum) over the ranks, with the same bits on
  // every rank. The tensor must not be touched before the returned Work has been waited for.
  // Floating point and int64; tree sums not of bfloat16, and not on GPUs.
  virtual Work all_reduce(at::Tensor tensor, ReduceOp op = ReduceOp::kSum) = 0;

  // The sums of several tensors of one dtype, as one call where that costs less than several; the
  // same list on every rank.
  virtual Work all_reduce_together(const std::vector<at::Tensor>& tensors,
                                   ReduceOp op = ReduceOp::kSum);

  // Replaces `tensor` on every rank by the one of rank `root`. Any dtype.
  virtual void broadcast(at::Tensor tensor, int root) = 0;

  // The tensors of all ranks stacked along a new first dimension: [size, ...]. Any dtype.
  virtual at::Tensor all_gather(const at::Tensor& tensor) = 0;

  virtual void barrier() = 0;

  // A collective: ranks that give the same color form a new communicator, ordered by key, then
  // rank.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
};

}  // namespace largo::comm
