// Collectives of GPU memory through NCCL. For comm/nccl only: others get one from
// make_nccl_communicator.
#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <memory>
#include <utility>

#include "comm/communicator.h"
#include "comm/nccl/nccl_core.h"

namespace largo::comm {

// A Communicator of one GPU per rank. Tensors on that GPU are reduced by NCCL, sums only, on the
// stream of `core`; tensors on the CPU go through `host`, which blocks. Every call throws once NCCL
// has failed, the host's collectives too.
//
// Streams: a collective comes after what the calling thread's current stream was given before. The
// current stream of the thread that calls Work::wait(), and that of the caller of broadcast and
// all_gather, waits for the result; the host does not. barrier() is the host's, and says nothing of
// the GPU.
//
// Memory: a tensor is kept until its collective is complete, so that the allocator cannot hand it
// out meanwhile. record_stream would do that, too, but delays every reuse until an event is seen,
// and here complete means that nothing on the communication stream uses it any more.
//
// All communicators that split() makes share the stream, so all ranks must make the same calls in
// the same order over all of them together (see CommStream). Destruction ends NCCL's communicator
// together with its other ranks, and waits for them up to half a minute; while an exception
// unwinds, it waits for nobody.
class NcclCommunicator final : public Communicator {
 public:
  struct Timeouts {
    double init_s = 900;
    double one_s = 600;
  };

  // Both are of the same ranks, in the same order.
  NcclCommunicator(std::unique_ptr<Communicator> host, std::unique_ptr<NcclCore> core,
                   at::Device device, Timeouts timeouts);
  ~NcclCommunicator() override;

  int rank() const override { return core_->rank(); }
  int size() const override { return core_->size(); }
  bool is_asynchronous() const override { return true; }
  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override;
  Work all_reduce(at::Tensor tensor, ReduceOp op) override;
  Work all_reduce_together(const std::vector<at::Tensor>& tensors, ReduceOp op) override;
  void broadcast(at::Tensor tensor, int root) override;
  at::Tensor all_gather(const at::Tensor& tensor) override;
  void barrier() override;
  std::unique_ptr<Communicator> split(int color, int key) override;

  // One sum with a known result, waited for on the host: shows that the ranks are connected.
  // Throws Error{kUnavailable}.
  void try_out();

 private:
  cudaStream_t current_stream() const;
  void check_on_device(const at::Tensor& tensor) const;
  void keep(NcclCore::Ticket ticket, at::Tensor tensor);
  Work work_of(NcclCore::Ticket ticket) const;

  std::deque<std::pair<NcclCore::Ticket, at::Tensor>> kept_;  // goes after the core is done
  std::unique_ptr<Communicator> host_;
  std::unique_ptr<NcclCore> core_;
  at::Device device_;
  Timeouts timeouts_;
  int exceptions_at_start_;
};

}  // namespace largo::comm
