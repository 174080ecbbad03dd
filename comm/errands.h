// A thread for what may hang.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace largo::comm {

// Runs jobs one after the other on a thread that the first one starts, so that who gives them can
// give up waiting: for a file system that does not answer, for a terminal that is held. Destruction
// drops what has not begun and waits for what has.
class Errands {
 public:
  Errands() = default;
  ~Errands();
  Errands(const Errands&) = delete;
  Errands& operator=(const Errands&) = delete;

  void give(std::function<void()> job);
  bool idle() const;
  bool await_idle(double seconds);  // false: it took longer

 private:
  void run();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;  // the first is under way
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace largo::comm
