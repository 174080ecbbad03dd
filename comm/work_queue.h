// A thread that runs jobs in the order in which they were handed over.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "comm/communicator.h"

namespace largo::comm {

// The communication thread of one communicator. A job that throws fails its own Work only; the
// owner sees it in wait(). One user thread. The destructor joins the thread when it is idle; a
// thread still inside a job (possible only while an error unwinds, or when Work was never waited
// for) is left behind, because waiting for other ranks there could hang the whole program.
class WorkQueue {
 public:
  WorkQueue();
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  Work submit(std::function<void()> job);

 private:
  struct State;
  std::shared_ptr<State> state_;  // outlives this object if the thread does
  std::thread thread_;
};

}  // namespace largo::comm
