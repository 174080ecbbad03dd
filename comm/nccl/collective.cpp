#include "comm/nccl/collective.h"

#include "comm/base/error.h"

namespace largo::comm {

namespace {

size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
    case ncclFloat8e4m3:
    case ncclFloat8e5m2:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    case ncclNumTypes:
      break;
  }
  fail(ExitCode::kInternal, "NCCL type ", static_cast<int>(type), " is not known");
}

const char* name_of(Collective::Kind kind) {
  switch (kind) {
    case Collective::Kind::kAllReduce:
      return "all_reduce";
    case Collective::Kind::kBroadcast:
      return "broadcast";
    case Collective::Kind::kAllGather:
      return "all_gather";
  }
  return "";
}

ncclResult_t launch_one(const Collective& part, ncclComm_t comm, cudaStream_t stream) {
  switch (part.kind) {
    case Collective::Kind::kAllReduce:
      return ncclAllReduce(part.send, part.receive, part.count, part.type, ncclSum, comm, stream);
    case Collective::Kind::kBroadcast:
      return ncclBroadcast(part.send, part.receive, part.count, part.type, part.root, comm, stream);
    case Collective::Kind::kAllGather:
      return ncclAllGather(part.send, part.receive, part.count, part.type, comm, stream);
  }
  return ncclInvalidArgument;
}

}  // namespace

ncclResult_t launch(std::span<const Collective> parts, ncclComm_t comm, cudaStream_t stream) {
  if (parts.size() == 1) return launch_one(parts.front(), comm, stream);
  ncclResult_t first_error = ncclGroupStart();
  if (first_error != ncclSuccess) return first_error;
  for (const Collective& part : parts) {
    const ncclResult_t result = launch_one(part, comm, stream);
    if (result != ncclSuccess && result != ncclInProgress && first_error == ncclSuccess) {
      first_error = result;
    }
  }
  const ncclResult_t result = ncclGroupEnd();  // always, or the thread stays inside the group
  return first_error != ncclSuccess ? first_error : result;
}

Signature signature(std::span<const Collective> parts) {
  Signature all;
  all.parts = parts.size();
  for (const Collective& part : parts) {
    all.kind = part.kind;
    all.bytes += part.count * bytes_of(part.type);
  }
  return all;
}

std::string to_string(const Signature& signature) {
  const std::string parts = signature.parts == 1 ? "" : concat(" in ", signature.parts, " parts");
  return concat(name_of(signature.kind), " of ", signature.bytes, " bytes", parts);
}

}  // namespace largo::comm
