#include "comm/nccl/comm_stream.h"

#include <algorithm>
#include <exception>
#include <future>
#include <utility>

#include "comm/nccl/nccl_check.h"

namespace largo::comm {

namespace {

using std::chrono::duration;

constexpr double kGap_s = 2;  // between two looks of a process that was stopped (RegularLooks)

// Whether the abort came to its end within the grace; otherwise it goes on by itself.
bool abort_within(double grace_s, ncclComm_t comm, int device) noexcept {
  try {
    auto done = std::make_shared<std::promise<void>>();
    const std::future<void> ended = done->get_future();
    std::thread([comm, device, done] {
      (void)cudaSetDevice(device);
      (void)ncclCommAbort(comm);
      done->set_value();
    }).detach();
    return ended.wait_for(duration<double>(grace_s)) == std::future_status::ready;
  } catch (const std::exception&) {  // no thread to be had
    (void)ncclCommAbort(comm);
    return true;
  }
}

CallKind kind_of(Collective::Kind kind) {
  switch (kind) {
    case Collective::Kind::kAllReduce:
      return CallKind::kAllReduce;
    case Collective::Kind::kBroadcast:
      return CallKind::kBroadcast;
    case Collective::Kind::kAllGather:
      return CallKind::kAllGather;
  }
  return CallKind::kAllReduce;
}

}  // namespace

CommStream::CommStream(Options options)
    : options_(std::move(options)), owns_stream_(options_.stream == nullptr) {
  cuda_check(cudaSetDevice(options_.device), "cudaSetDevice");
  stream_ = options_.stream;
  if (owns_stream_) {
    int least = 0, greatest = 0;
    cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest),
               "cudaDeviceGetStreamPriorityRange");
    // High priority, so that a reduction gets multiprocessors while backward has work queued.
    cuda_check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest),
               "cudaStreamCreateWithPriority");
  }
  if (options_.board) options_.board->begin(options_.rank);
  monitor_ = std::thread([this] { monitor(); });
}

CommStream::~CommStream() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  monitor_.join();
  if (abort_hangs_) {  // CUDA may hang, too: the process is about to end anyway
    events_.leak();
  } else if (owns_stream_) {
    (void)cudaStreamDestroy(stream_);  // does not wait for what is still on it
  }
}

ncclComm_t CommStream::connect(const ncclUniqueId& id, int rank, int size, double timeout_s) {
  Lock lock(mutex_);
  throw_if_failed();
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // or a rank that does not come holds the host inside NCCL for ever
  ncclComm_t comm = nullptr;
  const ncclResult_t result = ncclCommInitRankConfig(&comm, size, id, rank, &config);
  if (comm != nullptr) comms_.push_back(comm);
  const std::string what = concat("set-up of an NCCL communicator of ", size, " ranks");
  settle(lock, result, comm, {what, issued_}, timeout_s);
  return comm;
}

CommStream::Ticket CommStream::submit(ncclComm_t comm, std::span<const Collective> parts,
                                      cudaStream_t compute) {
  Lock lock(mutex_);
  retire(lock);
  throw_if_failed();
  Pending next{issued_ + 1, signature(parts), nullptr, nullptr, {}};
  try {
    next.ready = events_.take();
    next.done = events_.take();
    ++issued_;
    if (options_.board) options_.board->enqueued(options_.rank, issued_);
    if (options_.line) {
      options_.line->enter(kind_of(next.what.kind), next.what.bytes, CallName::current());
    }
    // Event in: the communication stream waits for what fills the buffers, the host does not.
    cuda_check(cudaEventRecord(next.ready, compute), "cudaEventRecord");
    cuda_check(cudaStreamWaitEvent(stream_, next.ready, 0), "cudaStreamWaitEvent");
    const ncclResult_t result = launch(parts, comm, stream_);
    // A launch under way has put nothing on the stream yet: an event recorded now would come first.
    settle(lock, result, comm, {"", next.ticket, next.what}, options_.timeout_s);
    cuda_check(cudaEventRecord(next.done, stream_), "cudaEventRecord");
  } catch (const std::exception& error) {
    fail_and_throw(lock, concat(name({"", next.ticket, next.what}), ": ", error.what()));
  }
  next.head_since = Clock::now();
  pending_.push_back(next);
  return next.ticket;
}

void CommStream::wait(Ticket ticket, cudaStream_t compute) {
  Lock lock(mutex_);
  throw_if_failed();
  LARGO_CHECK(ticket >= 1 && ticket <= issued_, "collective #", ticket, " of ", issued_);
  if (pending_.empty() || ticket < pending_.front().ticket) return;  // complete
  const Pending& entry = pending_[ticket - pending_.front().ticket];
  // Event out: the compute stream waits for the sum, the host does not.
  cuda_check(cudaStreamWaitEvent(compute, entry.done, 0), "cudaStreamWaitEvent");
}

void CommStream::synchronize(double timeout_s) {
  RegularLooks looks;
  for (Lock lock(mutex_);; lock.lock()) {
    retire(lock);
    throw_if_failed();
    if (pending_.empty()) return;
    const auto now = Clock::now();
    if (now - looks.since(kGap_s, now) > duration<double>(timeout_s)) {
      const Pending& head = pending_.front();
      fail_and_throw(lock, stalled({"", head.ticket, head.what}, timeout_s));
    }
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

void CommStream::check() const {
  const std::scoped_lock lock(mutex_);
  throw_if_failed();
}

void CommStream::disconnect(ncclComm_t comm, double timeout_s) {
  synchronize(timeout_s);
  Lock lock(mutex_);
  throw_if_failed();
  settle(lock, ncclCommFinalize(comm), comm, {"end of an NCCL communicator", issued_}, timeout_s);
  std::erase(comms_, comm);
  const ncclResult_t result = ncclCommDestroy(comm);
  if (result != ncclSuccess) {
    fail_and_throw(lock, concat("ncclCommDestroy: ", nccl_error_text(result, nullptr)));
  }
}

void CommStream::abort() noexcept {
  Lock lock(mutex_);
  if (!comms_.empty()) fail_all(lock, "its NCCL communicators were given up");
}

std::string CommStream::name(const Step& step) {
  return step.what.empty() ? concat("#", step.ticket, " ", to_string(step.collective))
                           : std::string(step.what);
}

CommStream::Step CommStream::under_way() const {
  if (!pending_.empty()) return {"", pending_.front().ticket, pending_.front().what};
  return settling_ != nullptr ? *settling_ : Step{"no collective under way"};
}

// Called and left with the lock held; free meanwhile, so that the monitor can look.
void CommStream::settle(Lock& lock, ncclResult_t result, ncclComm_t comm, const Step& step,
                        double timeout_s) {
  settling_ = &step;
  const std::unique_ptr<const Step*, void (*)(const Step**)> settled(
      &settling_, [](const Step** settling) { *settling = nullptr; });
  const auto start = Clock::now();
  RegularLooks looks(start);
  for (;;) {
    if (result == ncclInProgress) {
      const ncclResult_t asked = ncclCommGetAsyncError(comm, &result);
      if (asked != ncclSuccess) result = asked;
    }
    if (result == ncclSuccess) return;
    if (result != ncclInProgress) {
      fail_and_throw(lock, concat(name(step), ": ", nccl_error_text(result, comm)));
    }
    const auto now = Clock::now();
    if (now - looks.since(kGap_s, now) > duration<double>(timeout_s)) {
      fail_and_throw(lock, stalled(step, timeout_s));
    }
    lock.unlock();
    // NCCL launches on a thread that it starts: up to some hundred microseconds, and a sleep of 50
    // takes twice that. A set-up takes seconds.
    if (Clock::now() - start < std::chrono::milliseconds(1)) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    lock.lock();
    throw_if_failed();
  }
}

void CommStream::monitor() {
  (void)cudaSetDevice(options_.device);  // or a query would make a context on the first GPU
  Lock lock(mutex_);
  while (!stopping_.wait_for(lock, options_.poll, [this] { return stop_; })) {
    if (failure_.empty()) poll(lock);
  }
}

void CommStream::poll(Lock& lock) {
  const Clock::time_point since = looks_.since(kGap_s);
  retire(lock);
  if (!failure_.empty()) return;
  for (const ncclComm_t comm : comms_) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm, &state);
    if (asked != ncclSuccess) state = asked;
    if (state == ncclSuccess || state == ncclInProgress) continue;
    fail_all(lock,
             concat(name(under_way()), ": asynchronous error: ", nccl_error_text(state, comm)));
    return;
  }
  if (pending_.empty()) return;
  const Pending& head = pending_.front();
  if (Clock::now() - std::max(head.head_since, since) > duration<double>(options_.timeout_s)) {
    fail_all(lock, stalled({"", head.ticket, head.what}, options_.timeout_s));
  }
}

void CommStream::retire(Lock& lock) {
  while (!pending_.empty()) {
    const Pending& head = pending_.front();
    const cudaError_t state = cudaEventQuery(head.done);
    if (state == cudaErrorNotReady) return;
    if (state != cudaSuccess) {
      fail_all(lock, concat(name({"", head.ticket, head.what}),
                            ": cudaEventQuery: ", cuda_error_text(state)));
      return;
    }
    completed_.store(head.ticket, std::memory_order_release);
    if (options_.line) options_.line->leave();
    events_.give_back(head.ready);
    events_.give_back(head.done);
    pending_.pop_front();
    // Time counts at the head of the line only: who waits for others is not late.
    if (!pending_.empty()) pending_.front().head_since = Clock::now();
  }
}

std::string CommStream::stalled(const Step& step, double timeout_s) const {
  std::string text = concat(name(step), " not complete after ", timeout_s, " s");
  if (!pending_.empty() && step.ticket == pending_.front().ticket) {
    const bool reached = cudaEventQuery(pending_.front().ready) == cudaSuccess;
    text += concat("; last complete: #", completed_.load(), "; own compute stream has ",
                   reached ? "" : "not ", "reached it");
  }
  if (options_.board) text += "; " + options_.board->describe(step.ticket, options_.world);
  return text;
}

void CommStream::throw_if_failed() const {
  if (!failure_.empty()) throw Error(ExitCode::kUnavailable, failure_);
}

// Once: the first reason is the one to know. From here on nobody calls NCCL, so that the aborts,
// which may take a while, need no lock.
void CommStream::fail_all(Lock& lock, const std::string& why) {
  if (!failure_.empty()) return;
  failure_ = concat("rank ", options_.rank, ": ", why);
  const auto comms = std::exchange(comms_, {});
  lock.unlock();
  bool hangs = false;
  for (const ncclComm_t comm : comms) {
    hangs |= !abort_within(options_.abort_grace_s, comm, options_.device);
  }
  lock.lock();
  abort_hangs_ |= hangs;
}

void CommStream::fail_and_throw(Lock& lock, const std::string& why) {
  fail_all(lock, why);
  throw Error(ExitCode::kUnavailable, failure_);
}

}  // namespace largo::comm
