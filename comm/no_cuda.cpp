// GPUs in a build without CUDA: they are seen, so that nobody trains on the CPU by mistake.
#include "comm/base/error.h"
#include "comm/gpu.h"
#include "comm/trace_range.h"

namespace largo::comm {

GpuView view_gpus() {
  GpuView view;
  look_for_device_files(view);
  return view;
}

void try_gpu(int index, const GpuView&) {
  fail(ExitCode::kUnavailable, "GPU ", index, " in a build of Largo without CUDA");
}

std::string gpu_libraries() { return {}; }

TraceRange::TraceRange(const char*) {}
TraceRange::~TraceRange() {}  // not defaulted: of another build it is not trivial

}  // namespace largo::comm
