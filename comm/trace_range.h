// Names for stretches of time, for profilers.
#pragma once

namespace largo::comm {

// From construction to destruction the calling thread's work carries this name in NVIDIA's
// profilers (NVTX); nothing in builds without CUDA. `name` must live as long. Ranges nest.
class TraceRange {
 public:
  explicit TraceRange(const char* name);
  ~TraceRange();
  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;
};

}  // namespace largo::comm
