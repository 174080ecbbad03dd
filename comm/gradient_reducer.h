// Sums gradients over all ranks while backward is still running.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/gradient_squares.h"
#include "comm/sum_check.h"
#include "comm/tree_sum.h"

namespace largo::comm {

struct ReducerOptions {
  int64_t bucket_bytes = 25 << 20;
  int64_t first_bucket_bytes = 1 << 20;  // caps the bucket that fills first
  bool overlap = true;                   // ignored where the communicator is not asynchronous
  // Parameter numbers in the order in which buckets take them, from a checkpoint: the bits of the
  // sums depend on it. Empty: the order in which rank 0's first backward finishes them.
  std::vector<int64_t> order = {};
  // Gradients stay where backward left them until a bucket has all of its own, and are then added
  // to it by one kernel: for GPUs, where a kernel for each would cost more than its copy. On CPUs a
  // gradient is added while it is still in the caches.
  bool pack = false;
  // What a bucket is turned into on its way between the ranks; the sums come back in the
  // parameters' dtype. Riding values are not turned. Empty: nothing.
  std::optional<at::ScalarType> wire_dtype = {};
  // With `check`, the sums of the first so many steps are made again by it and compared.
  int64_t verify_steps = 0;
  Communicator* check = nullptr;  // of the same ranks, for tensors on the CPU
  // Sums the squares of each micro-batch's gradient on the way: see micro_batch_squares().
  bool sum_squares = false;
  // Above 0, a step has so many micro-batches on each rank, and they and the ranks are summed in
  // the aligned binary tree (comm/base/tree_order.h): for bits that do not depend on the number of
  // ranks. Not with `pack` or `wire_dtype`, and on CPUs only.
  int64_t leaves = 0;
};

// One optimizer step is
//     begin_step();
//     for each micro-batch:
//       begin_micro_batch(N / n);                // n of the step's N samples; 0 where n is
//       if it is the last, arm();
//       loss.backward();
//     wait();                                    // gradients() are now sums over all ranks
// Each micro-batch's gradient is added into flat buckets as soon as backward has finished it, and
// taken out of the parameter's .grad. During the armed backward a bucket is handed to the
// communicator once all its gradients are there; buckets leave in index order only, so all ranks
// agree on the sequence. The loss already holds 1 / global samples: the reduction is a sum and
// nothing divides.
//
// With `leaves`, begin_micro_batch() takes the riding values that the micro-batch's forward pass
// left, and sets them to zero for the next: they are summed in the tree like the gradients.
//
// Parameters are dense leaves of one dtype, the same list on every rank; construction is a
// collective and throws Error{kInternal} naming two ranks that disagree. A parameter that took no
// part in a step counts as zero. The parameters keep their hooks until this object goes; it must
// outlive no backward under way, and `world` and `check` must outlive it. One user thread; hooks
// may run on autograd's. wait() returns when gradients() may be read: on the host it blocks until
// the last bucket is there; on CUDA the current stream waits, and the host only where sums are
// verified (AgreedError{kUnavailable} names the bucket and the rank of one that is wrong).
class GradientReducer {
 public:
  // `extra` (of the parameters' dtype, may be undefined) rides with the last bucket: it must be
  // final when the armed backward starts, and is replaced by its sum over the ranks.
  GradientReducer(std::vector<at::Tensor> parameters, at::Tensor extra, Communicator& world,
                  const ReducerOptions& options);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  void begin_step();
  // `to_mean` makes a gradient of the micro-batch, divided as above, the mean over its samples.
  void begin_micro_batch(double to_mean);
  void arm();
  void wait();

  // In the parameters' order, with their sizes and strides; views of the buckets. Valid from wait()
  // to the next begin_step().
  std::span<const at::Tensor> gradients() const { return gradients_; }

  // With sum_squares: one element, of the parameters' dtype and on their device, the same on every
  // rank: the sum over all ranks and micro-batches of |g|^2, g being the mean gradient over the
  // samples of that micro-batch. Summed in double precision on each rank; the sums ride with the
  // last bucket, with no collective of their own (but where buckets change their dtype and nothing
  // else rides). No bit of the gradients depends on it. Valid as gradients() are; undefined
  // without sum_squares.
  at::Tensor micro_batch_squares() const;

  // Empty until the first wait() has fixed it.
  const std::vector<int64_t>& order() const { return order_; }

  int64_t bucket_count() const { return static_cast<int64_t>(buckets_.size()); }

  // Of the step that wait() ended: how many buckets had left before its backward was over.
  int64_t buckets_launched_in_backward() const { return launched_in_backward_; }

 private:
  class Hook;
  static constexpr size_t kSquares = 0;  // places in the tree, behind those of the gradients
  static constexpr size_t kExtra = 1;

  struct Bucket {
    at::Tensor flat;
    at::Tensor sent;               // what the ranks sum: flat, or its gradients in the wire's dtype
    std::vector<int64_t> members;  // parameter numbers
    std::vector<int64_t> unpacked;  // members whose gradient is still in .grad
    int64_t missing = 0;            // members that the armed backward has not finished yet
    Work work;
  };

  void check_ranks_agree() const;
  void lay_out(const std::vector<int64_t>& order);
  void make_tree();
  void begin_leaf(double to_mean);
  void add_absent();
  void add_squares();
  ReduceOp op() const { return tree_ ? ReduceOp::kTreeSum : ReduceOp::kSum; }
  void on_gradient(int64_t parameter);
  void pack(Bucket& bucket);
  void pack_all();
  void launch_ready_buckets();
  void complete(Bucket& bucket);
  bool is_last(const Bucket& bucket) const { return &bucket == &buckets_.back(); }
  void launch(Bucket& bucket);
  void launch_riding();
  void launch_rest();
  std::vector<int64_t> agreed_order();

  std::vector<at::Tensor> parameters_;
  at::Tensor extra_;
  Communicator& world_;
  ReducerOptions options_;
  std::optional<SumCheck> sum_check_;

  std::mutex mutex_;  // hooks against each other; the user thread is outside backward then
  std::vector<Bucket> buckets_;
  std::vector<at::Tensor> gradients_;
  GradientSquares squares_;
  at::Tensor riding_;               // the end of the last bucket: `extra`, then the squares
  Work riding_work_;                // where buckets change their dtype
  std::vector<int64_t> bucket_of_;  // by parameter
  std::vector<bool> has_gradient_;  // by parameter, in this step; with a tree, in this leaf
  std::optional<TreeSum> tree_;     // with `leaves`
  std::vector<int64_t> observed_;   // order of the armed backward
  std::vector<int64_t> order_;      // empty until fixed
  size_t next_bucket_ = 0;          // first that has not left
  int64_t launched_in_backward_ = 0;
  bool armed_ = false;
  bool lay_out_anew_ = false;  // order_ was fixed by the step that has just ended
};

}  // namespace largo::comm
