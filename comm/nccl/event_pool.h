// CUDA events that are used again and again.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

namespace largo::comm {

// Owns every event it has ever handed out. One thread at a time.
class EventPool {
 public:
  EventPool() = default;
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  ~EventPool();  // work that still refers to an event keeps it alive inside CUDA

  cudaEvent_t take();                 // without timing; throws Error{kUnavailable}
  void give_back(cudaEvent_t event);  // nothing waits for its last record any more

  // After a failure in which CUDA may hang: the events are left to the end of the process.
  void leak() noexcept { all_.clear(); }

 private:
  std::vector<cudaEvent_t> all_;
  std::vector<cudaEvent_t> free_;
};

}  // namespace largo::comm
