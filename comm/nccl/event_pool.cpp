#include "comm/nccl/event_pool.h"

#include "comm/nccl/nccl_check.h"

namespace largo::comm {

EventPool::~EventPool() {
  for (const cudaEvent_t event : all_) (void)cudaEventDestroy(event);
}

cudaEvent_t EventPool::take() {
  if (free_.empty()) {
    all_.reserve(all_.size() + 1);
    free_.reserve(all_.size() + 1);  // give_back never allocates
    cudaEvent_t event = nullptr;
    cuda_check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming),
               "cudaEventCreateWithFlags");
    all_.push_back(event);
    return event;
  }
  const cudaEvent_t event = free_.back();
  free_.pop_back();
  return event;
}

void EventPool::give_back(cudaEvent_t event) { free_.push_back(event); }

}  // namespace largo::comm
