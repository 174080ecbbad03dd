// One NCCL collective as plain data: what is launched, and what messages call it.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace largo::comm {

// `count` elements per rank. Reductions are sums and nothing else: an average rounds 1/n to the
// element type and loses NCCL's fastest paths.
struct Collective {
  enum class Kind { kAllReduce, kBroadcast, kAllGather };

  Kind kind = Kind::kAllReduce;
  const void* send = nullptr;
  void* receive = nullptr;
  size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  int root = 0;  // of a broadcast
};

// Hands them to NCCL, several as one group. ncclInProgress is the usual answer of a communicator
// that does not block.
ncclResult_t launch(std::span<const Collective> parts, ncclComm_t comm, cudaStream_t stream);

// What a message says of them, without their pointers.
struct Signature {
  Collective::Kind kind = Collective::Kind::kAllReduce;
  size_t parts = 0;
  size_t bytes = 0;  // of this rank's contribution, over all parts
};

Signature signature(std::span<const Collective> parts);
std::string to_string(const Signature& signature);  // "all_reduce of 848 bytes"

}  // namespace largo::comm
