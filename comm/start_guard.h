// The time that a start may take in which no watchdog can look at other ranks yet.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace largo::comm {

// Calls `end` on a thread of its own once `seconds` have passed, unless it is destroyed before.
// Time in which this process was stopped does not count, but for a second.
class StartGuard {
 public:
  StartGuard(double seconds, std::function<void()> end);
  ~StartGuard();
  StartGuard(const StartGuard&) = delete;
  StartGuard& operator=(const StartGuard&) = delete;

 private:
  void watch(double seconds);

  std::function<void()> end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace largo::comm
