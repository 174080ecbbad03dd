#include "comm/start_guard.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace largo::comm {

StartGuard::StartGuard(double seconds, std::function<void()> end)
    : end_(std::move(end)), thread_([this, seconds] { watch(seconds); }) {}

StartGuard::~StartGuard() {
  {
    const std::scoped_lock lock(mutex_);
    is_over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StartGuard::watch(double seconds) {
  std::unique_lock lock(mutex_);
  // Second by second: of a longer time, spent stopped, one is counted.
  for (double left = seconds; left > 0; left -= 1) {
    const std::chrono::duration<double> some(std::min(left, 1.0));
    if (changed_.wait_for(lock, some, [this] { return is_over_; })) return;
  }
  end_();
}

}  // namespace largo::comm
