// The one way calls of CUDA's runtime and of NCCL are checked. For comm/nccl only.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <string>

#include "comm/base/error.h"

namespace largo::comm {

inline std::string cuda_error_text(cudaError_t code) {
  return concat(cudaGetErrorString(code), " (", cudaGetErrorName(code), ")");
}

// Throws Error{kUnavailable} naming the call.
inline void cuda_check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();  // or the next check of anybody's reports it once more
  fail(ExitCode::kUnavailable, call, ": ", cuda_error_text(code));
}

// What NCCL says of a result; `comm` may be null.
inline std::string nccl_error_text(ncclResult_t code, ncclComm_t comm) {
  const char* last = ncclGetLastError(comm);
  const bool silent = last == nullptr || *last == '\0';
  return concat(ncclGetErrorString(code), silent ? "" : ": ", silent ? "" : last);
}

}  // namespace largo::comm
