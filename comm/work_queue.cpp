#include "comm/work_queue.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <future>
#include <mutex>
#include <utility>

namespace largo::comm {

namespace {

struct Job {
  std::function<void()> body;
  std::promise<void> done;
};

}  // namespace

struct WorkQueue::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Job> jobs;
  bool busy = false;
  bool closed = false;

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return closed || !jobs.empty(); });
      if (jobs.empty()) return;
      Job job = std::move(jobs.front());
      jobs.pop_front();
      busy = true;
      lock.unlock();
      std::exception_ptr failure;
      try {
        job.body();
      } catch (...) {
        failure = std::current_exception();
      }
      job.body = nullptr;  // what it holds is released before its owner goes on
      lock.lock();
      busy = false;
      if (failure) {
        job.done.set_exception(failure);
      } else {
        job.done.set_value();
      }
    }
  }
};

WorkQueue::WorkQueue()
    : state_(std::make_shared<State>()), thread_([state = state_] { state->run(); }) {}

WorkQueue::~WorkQueue() {
  bool idle;
  {
    const std::scoped_lock lock(state_->mutex);
    state_->closed = true;
    idle = !state_->busy && state_->jobs.empty();
    if (!idle) state_->jobs.clear();
  }
  state_->changed.notify_all();
  if (idle) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

Work WorkQueue::submit(std::function<void()> job) {
  Job entry{std::move(job), {}};
  std::shared_future<void> done = entry.done.get_future().share();
  {
    const std::scoped_lock lock(state_->mutex);
    state_->jobs.push_back(std::move(entry));
  }
  state_->changed.notify_all();
  return Work([done] { done.get(); });
}

}  // namespace largo::comm
