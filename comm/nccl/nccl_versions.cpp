#include <dlfcn.h>

#include "comm/nccl/nccl_check.h"
#include "comm/nccl_backend.h"

namespace largo::comm {

namespace {

std::string version_text(int code) {
  return concat(code / 10000, ".", code % 10000 / 100, ".", code % 100);
}

std::string file_of_nccl() {
  Dl_info found{};
  const auto address = reinterpret_cast<const void*>(&ncclGetVersion);
  return dladdr(address, &found) != 0 && found.dli_fname ? found.dli_fname : "unknown file";
}

}  // namespace

std::string nccl_versions() {
  int loaded = 0;
  const ncclResult_t result = ncclGetVersion(&loaded);
  if (result != ncclSuccess) {
    fail(ExitCode::kUnavailable, "ncclGetVersion: ", nccl_error_text(result, nullptr));
  }
  if (loaded / 100 != NCCL_VERSION_CODE / 100) {
    fail(ExitCode::kUnavailable, "NCCL ", version_text(loaded), " is loaded (", file_of_nccl(),
         "), but Largo was built against ", version_text(NCCL_VERSION_CODE),
         "; legal are versions ", NCCL_MAJOR, ".", NCCL_MINOR,
         ".*: look at LD_LIBRARY_PATH and LD_PRELOAD");
  }
  return concat("NCCL ", version_text(loaded), " (built against ", version_text(NCCL_VERSION_CODE),
                ")");
}

}  // namespace largo::comm
