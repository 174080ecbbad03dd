#include "comm/thread_communicator.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "comm/tree_sum.h"
#include "comm/work_queue.h"

namespace largo::comm {

namespace {

struct PeerFailed : Error {
  PeerFailed() : Error(ExitCode::kInternal, "another rank failed") {}
};

// Set by the first rank that fails; everyone who waits looks at it now and then.
using Failure = std::atomic<bool>;

// Where the ranks of one communicator meet.
class Meeting {
 public:
  Meeting(int ranks, std::shared_ptr<Failure> failure)
      : slots_(ranks), colors_(ranks), failure_(std::move(failure)) {}

  int ranks() const { return static_cast<int>(slots_.size()); }

  // Shows `mine` to all ranks; `read` sees everybody's, in rank order. Nobody returns before all
  // have read.
  template <class Read>
  void exchange(int rank, const at::Tensor& mine, const Read& read) {
    slots_[rank] = mine;
    barrier();
    read(slots_);
    barrier();
  }

  void barrier() {
    std::unique_lock lock(mutex_);
    const int64_t round = round_;
    if (++arrived_ == ranks()) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    while (round_ == round) {
      changed_.wait_for(lock, std::chrono::milliseconds(20));
      if (round_ == round && *failure_) throw PeerFailed();
    }
  }

  // The meeting of the ranks with this rank's color.
  std::pair<std::shared_ptr<Meeting>, int> split(int rank, int color, int key) {
    colors_[rank] = {color, key, rank};
    barrier();
    std::vector<Member> members;
    for (const Member& member : colors_) {
      if (member.color == color) members.push_back(member);
    }
    std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) {
      return std::pair(a.key, a.rank) < std::pair(b.key, b.rank);
    });
    int place = 0;
    while (members[place].rank != rank) ++place;
    std::shared_ptr<Meeting> part;
    {
      const std::scoped_lock lock(mutex_);
      auto& slot = parts_[color];
      if (!slot) slot = std::make_shared<Meeting>(static_cast<int>(members.size()), failure_);
      part = slot;
    }
    barrier();
    {
      const std::scoped_lock lock(mutex_);
      parts_.erase(color);
    }
    barrier();
    return {part, place};
  }

 private:
  struct Member {
    int color = 0, key = 0, rank = 0;
  };

  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  int64_t round_ = 0;
  std::vector<at::Tensor> slots_;
  std::vector<Member> colors_;
  std::map<int, std::shared_ptr<Meeting>> parts_;
  std::shared_ptr<Failure> failure_;
};

at::Tensor combined(const std::vector<at::Tensor>& all, ReduceOp op) {
  at::Tensor total = all[0].clone();
  if (op == ReduceOp::kTreeSum) {
    TreeSum sum({total}, static_cast<int64_t>(all.size()));
    for (const at::Tensor& leaf : all) {
      sum.next_leaf();
      sum.add(0, leaf);
    }
    return total;
  }
  for (size_t r = 1; r < all.size(); ++r) {
    total = op == ReduceOp::kSum ? total.add_(all[r]) : at::maximum(total, all[r]);
  }
  return total;
}

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Meeting> meeting, int rank, bool asynchronous)
      : meeting_(std::move(meeting)), rank_(rank) {
    if (asynchronous) queue_.emplace();
  }

  int rank() const override { return rank_; }
  int size() const override { return meeting_->ranks(); }
  bool is_asynchronous() const override { return queue_.has_value(); }

  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override {
    return at::zeros({elements}, dtype);
  }

  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    return run([meeting = meeting_, rank = rank_, tensor, op] {
      const at::NoGradGuard no_grad;
      at::Tensor total;
      meeting->exchange(rank, tensor,
                        [&](const std::vector<at::Tensor>& all) { total = combined(all, op); });
      tensor.copy_(total);
    });
  }

  void broadcast(at::Tensor tensor, int root) override {
    run([this, tensor, root] {
      const at::NoGradGuard no_grad;
      meeting_->exchange(rank_, tensor, [&](const std::vector<at::Tensor>& all) {
        if (rank_ != root) tensor.copy_(all[root]);
      });
    }).wait();
  }

  at::Tensor all_gather(const at::Tensor& tensor) override {
    at::Tensor gathered;
    run([&] {
      const at::NoGradGuard no_grad;
      meeting_->exchange(rank_, tensor,
                         [&](const std::vector<at::Tensor>& all) { gathered = at::stack(all); });
    }).wait();
    return gathered;
  }

  void barrier() override {
    run([this] { meeting_->barrier(); }).wait();
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    std::pair<std::shared_ptr<Meeting>, int> part;
    run([&] { part = meeting_->split(rank_, color, key); }).wait();
    return std::make_unique<ThreadCommunicator>(part.first, part.second, queue_.has_value());
  }

 private:
  Work run(std::function<void()> job) {
    if (queue_) return queue_->submit(std::move(job));
    job();
    return Work();
  }

  std::shared_ptr<Meeting> meeting_;
  int rank_;
  std::optional<WorkQueue> queue_;
};

}  // namespace

void spawn_ranks(int ranks, const std::function<void(Communicator&)>& body, bool asynchronous) {
  const auto failure = std::make_shared<Failure>(false);
  const auto meeting = std::make_shared<Meeting>(ranks, failure);
  std::mutex first_mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadCommunicator communicator(meeting, rank, asynchronous);
      try {
        body(communicator);
      } catch (const PeerFailed&) {
        const std::scoped_lock lock(first_mutex);
        if (!first && !*failure) first = std::current_exception();
      } catch (...) {
        const std::scoped_lock lock(first_mutex);
        if (!first) first = std::current_exception();
        *failure = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace largo::comm
