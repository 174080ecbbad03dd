#include "comm/nccl/nccl_core.h"

#include <utility>
#include <vector>

#include "comm/nccl/nccl_check.h"

namespace largo::comm {

ncclUniqueId NcclCore::make_id() {
  ncclUniqueId id;
  const ncclResult_t result = ncclGetUniqueId(&id);
  if (result != ncclSuccess) {
    fail(ExitCode::kUnavailable, "ncclGetUniqueId: ", nccl_error_text(result, nullptr));
  }
  return id;
}

NcclCore::NcclCore(std::shared_ptr<CommStream> stream, const ncclUniqueId& id, int rank, int size,
                   double init_timeout_s)
    : stream_(std::move(stream)),
      rank_(rank),
      size_(size),
      comm_(stream_->connect(id, rank, size, init_timeout_s)) {}

NcclCore::~NcclCore() {
  if (comm_ != nullptr) stream_->abort();
}

NcclCore::Ticket NcclCore::submit(const Collective& collective, cudaStream_t compute) {
  return stream_->submit(comm_, {&collective, 1}, compute);
}

NcclCore::Ticket NcclCore::all_reduce(void* data, size_t count, ncclDataType_t type,
                                      cudaStream_t compute) {
  return submit({Collective::Kind::kAllReduce, data, data, count, type}, compute);
}

NcclCore::Ticket NcclCore::all_reduce(std::span<const Buffer> buffers, ncclDataType_t type,
                                      cudaStream_t compute) {
  std::vector<Collective> parts;
  parts.reserve(buffers.size());
  for (const Buffer& buffer : buffers) {
    parts.push_back({Collective::Kind::kAllReduce, buffer.data, buffer.data, buffer.count, type});
  }
  return stream_->submit(comm_, parts, compute);
}

NcclCore::Ticket NcclCore::broadcast(void* data, size_t count, ncclDataType_t type, int root,
                                     cudaStream_t compute) {
  return submit({Collective::Kind::kBroadcast, data, data, count, type, root}, compute);
}

NcclCore::Ticket NcclCore::all_gather(const void* send, void* receive, size_t count,
                                      ncclDataType_t type, cudaStream_t compute) {
  return submit({Collective::Kind::kAllGather, send, receive, count, type}, compute);
}

void NcclCore::finish(double timeout_s) {
  stream_->disconnect(std::exchange(comm_, nullptr), timeout_s);
}

}  // namespace largo::comm
