// An NCCL communicator on raw pointers: no tensors, so that tests can run it over an emulated
// device.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstddef>
#include <memory>
#include <span>

#include "comm/nccl/comm_stream.h"

namespace largo::comm {

// One rank of a group that NCCL connects. Several share a CommStream, which says what holds for
// streams, failures and threads. All ranks make the same calls in the same order with the same
// counts and types, on all communicators of the stream together.
//
// Buffers are device memory that must stay as it is from the call until the collective is complete:
// until wait() for its ticket on the stream that writes or frees them next.
class NcclCore {
 public:
  using Ticket = CommStream::Ticket;

  struct Buffer {
    void* data = nullptr;
    size_t count = 0;
  };

  // Made by one rank and carried to the others by any means. Opens a socket, so it may fail:
  // Error{kUnavailable}.
  static ncclUniqueId make_id();

  // A collective. Throws Error{kUnavailable} if the others do not come within the timeout.
  NcclCore(std::shared_ptr<CommStream> stream, const ncclUniqueId& id, int rank, int size,
           double init_timeout_s);

  // After finish() this is nothing. Before, while an error unwinds, it aborts all communicators of
  // the stream and waits for nobody.
  ~NcclCore();
  NcclCore(const NcclCore&) = delete;
  NcclCore& operator=(const NcclCore&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  CommStream& stream() const { return *stream_; }
  const std::shared_ptr<CommStream>& shared_stream() const { return stream_; }

  // In place, the sum over the ranks; several buffers of one type as one NCCL call.
  Ticket all_reduce(void* data, size_t count, ncclDataType_t type, cudaStream_t compute);
  Ticket all_reduce(std::span<const Buffer> buffers, ncclDataType_t type, cudaStream_t compute);

  // In place, what rank `root` has.
  Ticket broadcast(void* data, size_t count, ncclDataType_t type, int root, cudaStream_t compute);

  // `count` elements of every rank, one after the other: `receive` holds size() times as many.
  Ticket all_gather(const void* send, void* receive, size_t count, ncclDataType_t type,
                    cudaStream_t compute);

  // Work that comes later on `compute` runs after the collective; the host does not wait.
  void wait(Ticket ticket, cudaStream_t compute) { stream_->wait(ticket, compute); }

  // A collective: the orderly end. The host waits for what is under way and for the other ranks,
  // within the timeout. Nothing may be called after it.
  void finish(double timeout_s);

 private:
  Ticket submit(const Collective& collective, cudaStream_t compute);

  std::shared_ptr<CommStream> stream_;
  int rank_;
  int size_;
  ncclComm_t comm_;  // null: finished
};

}  // namespace largo::comm
