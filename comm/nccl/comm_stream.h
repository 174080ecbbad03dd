// The communication stream of a rank, and what watches over it.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "comm/flight_record.h"
#include "comm/nccl/collective.h"
#include "comm/nccl/event_pool.h"
#include "comm/progress_board.h"
#include "comm/regular_looks.h"

namespace largo::comm {

// A line of collectives on one CUDA stream, which all NCCL communicators of a rank share.
//
// One stream, because two NCCL communicators in flight side by side on one GPU can deadlock: each
// kernel waits for its peers while it holds the multiprocessors that the other one needs, and ranks
// may start them in different orders. In one line every rank runs them in the order of the calls,
// which must be the same on all ranks, over all communicators together.
//
// Streams: a collective runs after all that was on the caller's stream at the call (an event in);
// wait() makes work that comes later on a stream run after it (an event out). The host waits for
// neither, only for NCCL to have put its kernel on the stream.
//
// Failures: a monitor thread looks at NCCL's asynchronous errors, and at the collective at the head
// of the line: one that stays there longer than the timeout has failed. What has failed once throws
// Error{kUnavailable} with the same text at every later call; all communicators have been aborted
// by then, and what their buffers hold is undefined.
//
// Threads: one at a time issues collectives. NCCL allows one thread at a time inside a
// communicator, for ncclCommGetAsyncError too (it ends NCCL's launching thread), and none during an
// abort: a mutex around every call sees to that.
class CommStream {
 public:
  using Ticket = uint64_t;  // the place in the line, counted from 1

  struct Options {
    int device = 0;
    int rank = 0;   // of the job: named in errors, and its own counter on the board
    int world = 1;  // ranks of the job
    double timeout_s = 600;
    double abort_grace_s = 10;  // ncclCommAbort has been seen to hang; it is then left alone
    std::chrono::milliseconds poll{20};    // period of the monitor
    cudaStream_t stream = nullptr;         // must outlive this; null: an own one of high priority
    std::shared_ptr<ProgressBoard> board;  // null: nobody knows how far the other ranks are
    std::shared_ptr<FlightRecord::Line> line = {};  // where collectives are recorded; null: nowhere
  };

  explicit CommStream(Options options);
  ~CommStream();  // after its communicators; waits for nothing that is still on the stream
  CommStream(const CommStream&) = delete;
  CommStream& operator=(const CommStream&) = delete;

  // A collective of the `size` ranks that know `id`: a communicator, owned by this stream. A rank
  // that does not come within the timeout is named by the board.
  ncclComm_t connect(const ncclUniqueId& id, int rank, int size, double timeout_s);

  // Puts one collective, or several as one group, at the end of the line.
  Ticket submit(ncclComm_t comm, std::span<const Collective> parts, cudaStream_t compute);

  // What comes later on `compute` runs after the collective.
  void wait(Ticket ticket, cudaStream_t compute);

  // The host waits until the line is empty.
  void synchronize(double timeout_s);

  // The last collective known to be complete; all before it are, too.
  Ticket completed() const { return completed_.load(std::memory_order_acquire); }

  void check() const;  // throws if anything has failed

  // Ends a communicator in order, together with its other ranks; its collectives come to their end
  // before.
  void disconnect(ncclComm_t comm, double timeout_s);

  // Ends all communicators at once, without the other ranks; waits for nobody. A failure like any
  // other.
  void abort() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;

  struct Pending {
    Ticket ticket;
    Signature what;
    cudaEvent_t ready;  // the compute stream has come to the call
    cudaEvent_t done;   // the collective is complete
    Clock::time_point head_since;
  };

  // What is under way, for messages: `what`, or the collective.
  struct Step {
    std::string_view what;
    Ticket ticket = 0;
    Signature collective = {};
  };

  static std::string name(const Step& step);
  Step under_way() const;
  void settle(Lock& lock, ncclResult_t result, ncclComm_t comm, const Step& step, double timeout_s);
  void monitor();
  void poll(Lock& lock);
  void retire(Lock& lock);
  std::string stalled(const Step& step, double timeout_s) const;
  void throw_if_failed() const;
  void fail_all(Lock& lock, const std::string& why);
  [[noreturn]] void fail_and_throw(Lock& lock, const std::string& why);

  Options options_;
  bool owns_stream_ = false;
  cudaStream_t stream_ = nullptr;

  mutable std::mutex mutex_;  // guards what follows and every NCCL call; not held while sleeping
  std::condition_variable stopping_;
  std::vector<ncclComm_t> comms_;
  EventPool events_;
  std::deque<Pending> pending_;
  const Step* settling_ = nullptr;  // what settle() is waiting for
  Ticket issued_ = 0;
  std::atomic<Ticket> completed_{0};
  std::string failure_;
  bool abort_hangs_ = false;
  bool stop_ = false;
  RegularLooks looks_;  // the monitor's
  std::thread monitor_;
};

}  // namespace largo::comm
