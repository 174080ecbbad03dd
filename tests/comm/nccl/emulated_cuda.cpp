#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "tests/comm/nccl/emulated_state.h"

namespace {

using Job = std::function<void()>;

// The part of a stream that outlives its handle: work may still be on it.
struct Line {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Job> jobs;
  bool busy = false;
  bool stop = false;

  void push(Job job) {
    {
      const std::scoped_lock lock(mutex);
      jobs.push_back(std::move(job));
    }
    changed.notify_all();
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stop || !jobs.empty(); });
      if (jobs.empty()) return;
      Job job = std::move(jobs.front());
      jobs.pop_front();
      busy = true;
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
      busy = false;
      changed.notify_all();
    }
  }
};

// The part of an event that outlives its handle.
struct Records {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t recorded = 0;
  uint64_t completed = 0;
};

struct Ended {
  std::mutex mutex;
  std::vector<std::thread> threads;
};
Ended& ended() {
  static Ended all;
  return all;
}

struct Shared {
  std::mutex mutex;
  std::vector<std::string> violations;
  std::set<cudaStream_t> streams;  // that have not been destroyed
  std::set<cudaEvent_t> events;
};
Shared& shared() {
  static Shared all;
  return all;
}

}  // namespace

struct CUstream_st {
  std::shared_ptr<Line> line = std::make_shared<Line>();
  std::thread worker{[line = line] { line->run(); }};
};

struct CUevent_st {
  std::shared_ptr<Records> records = std::make_shared<Records>();
};

namespace largo::test::emulated {

std::atomic<int>& live_comms() {
  static std::atomic<int> comms{0};
  return comms;
}

int live_objects() {
  const std::scoped_lock lock(shared().mutex);
  return static_cast<int>(shared().streams.size() + shared().events.size()) + live_comms();
}

void destroy_leaked() {
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
  {
    const std::scoped_lock lock(shared().mutex);
    streams = shared().streams;
    events = shared().events;
  }
  for (const cudaStream_t stream : streams) cudaStreamDestroy(stream);
  for (const cudaEvent_t event : events) cudaEventDestroy(event);
}

void violation(std::string text) {
  const std::scoped_lock lock(shared().mutex);
  shared().violations.push_back(std::move(text));
}

std::vector<std::string> take_violations() {
  const std::scoped_lock lock(shared().mutex);
  return std::exchange(shared().violations, {});
}

// Without a lock, which would order the streams that read it.
struct AtomicBehaviour {
  std::atomic<bool> detect_mismatch{true};
  std::atomic<bool> abort_hangs{false};
  std::atomic<int> polls_to_launch{2};
  std::atomic<std::chrono::microseconds> collective_time{std::chrono::microseconds(0)};
};
AtomicBehaviour& atomic_behaviour() {
  static AtomicBehaviour all;
  return all;
}

void set_behaviour(const Behaviour& to) {
  atomic_behaviour().detect_mismatch = to.detect_mismatch;
  atomic_behaviour().abort_hangs = to.abort_hangs;
  atomic_behaviour().polls_to_launch = to.polls_to_launch;
  atomic_behaviour().collective_time = to.collective_time;
}

Behaviour behaviour() {
  constexpr auto kUnordered = std::memory_order_relaxed;
  const AtomicBehaviour& now = atomic_behaviour();
  return {now.detect_mismatch.load(kUnordered), now.abort_hangs.load(kUnordered),
          now.polls_to_launch.load(kUnordered), now.collective_time.load(kUnordered)};
}

void launch(cudaStream_t stream, std::function<void()> kernel) {
  stream->line->push(std::move(kernel));
}

void join_streams() {
  std::vector<std::thread> threads;
  {
    const std::scoped_lock lock(ended().mutex);
    threads.swap(ended().threads);
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace largo::test::emulated

namespace emulated = largo::test::emulated;

extern "C" {

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t code) {
  return code == cudaSuccess ? "cudaSuccess" : "cudaErrorEmulated";
}
const char* cudaGetErrorString(cudaError_t code) {
  return code == cudaSuccess ? "no error" : "emulated CUDA error";
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = new CUstream_st;
  const std::scoped_lock lock(shared().mutex);
  shared().streams.insert(*stream);
  return cudaSuccess;
}

// Returns at once, as CUDA's: the work that is left still runs.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    const std::scoped_lock lock(stream->line->mutex);
    stream->line->stop = true;
  }
  stream->line->changed.notify_all();
  {
    const std::scoped_lock lock(ended().mutex);
    ended().threads.push_back(std::move(stream->worker));
  }
  {
    const std::scoped_lock lock(shared().mutex);
    if (shared().streams.erase(stream) == 0) return cudaErrorInvalidResourceHandle;
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Line& line = *stream->line;
  std::unique_lock lock(line.mutex);
  line.changed.wait(lock, [&] { return line.jobs.empty() && !line.busy; });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  const std::scoped_lock lock(shared().mutex);
  shared().events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  {
    const std::scoped_lock lock(shared().mutex);
    if (shared().events.erase(event) == 0) return cudaErrorInvalidResourceHandle;
  }
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  uint64_t record = 0;
  {
    const std::scoped_lock lock(event->records->mutex);
    record = ++event->records->recorded;
  }
  stream->line->push([records = event->records, record] {
    {
      const std::scoped_lock lock(records->mutex);
      records->completed = std::max(records->completed, record);
    }
    records->changed.notify_all();
  });
  return cudaSuccess;
}

// For the latest record before this call; none: nothing to wait for.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  uint64_t record = 0;
  {
    const std::scoped_lock lock(event->records->mutex);
    record = event->records->recorded;
  }
  stream->line->push([records = event->records, record] {
    std::unique_lock lock(records->mutex);
    records->changed.wait(lock, [&] { return records->completed >= record; });
  });
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::scoped_lock lock(event->records->mutex);
  return event->records->completed >= event->records->recorded ? cudaSuccess : cudaErrorNotReady;
}

}  // extern "C"
