// How far every rank has come, where other ranks can read it without asking.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace largo::comm {

// One counter per rank, in memory that all ranks of a node share: what a rank looks at when a
// collective hangs, to name who has not come. A counter is 0 until its rank has begun, then 1 + the
// number of collectives that it has enqueued. Ranks without a counter here are unknown: those of
// other nodes.
//
// In shared memory one rank creates the board under a name, which tells the others to open it; once
// all have, the name is removed, so that nothing is left behind even after a SIGKILL. The caller
// does what must happen between: create, (barrier) open, (barrier) unlink.
//
// Any thread may read and write; only its own rank writes a counter.
class ProgressBoard {
 public:
  // Within one process.
  explicit ProgressBoard(std::vector<int> ranks);

  // `name` starts with a slash and is not in use yet; `ranks` are those with a counter, in the same
  // order for all. Throw Error{kUnavailable}.
  static std::unique_ptr<ProgressBoard> create(const std::string& name, std::vector<int> ranks);
  static std::unique_ptr<ProgressBoard> open(const std::string& name, std::vector<int> ranks);
  static void unlink(const std::string& name) noexcept;

  ProgressBoard(const ProgressBoard&) = delete;
  ProgressBoard& operator=(const ProgressBoard&) = delete;
  ~ProgressBoard();

  void begin(int rank) { counter(rank).value.store(1, std::memory_order_relaxed); }
  void enqueued(int rank, uint64_t collectives) {
    counter(rank).value.store(1 + collectives, std::memory_order_relaxed);
  }

  // The collectives that a rank has enqueued; nothing if it has not begun or is unknown.
  bool knows(int rank) const { return find(rank) != nullptr; }
  std::optional<uint64_t> progress(int rank) const;

  // Who of `world` ranks has not enqueued collective number `sequence` (counted from 1; 0: has not
  // begun), in words: "3 ranks have enqueued it; rank 3 is BEHIND (#12)". At most 16 are named.
  std::string describe(uint64_t sequence, int world) const;

 private:
  struct alignas(64) Counter {  // a cache line each: writing one does not slow the others
    std::atomic<uint64_t> value{0};
  };

  ProgressBoard(std::vector<int> ranks, void* mapped);
  static std::unique_ptr<ProgressBoard> map(const std::string& name, std::vector<int> ranks,
                                            int flags);
  const Counter* find(int rank) const;
  Counter& counter(int rank);

  std::vector<int> ranks_;
  std::vector<Counter> own_;
  Counter* counters_;
};

}  // namespace largo::comm
