// How far every rank has come, where other ranks can read it without asking.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/doing.h"
#include "comm/shared_segment.h"

namespace largo::comm {

// One place per rank, in memory that all ranks of a node share: what a rank looks at when a
// collective hangs, to name who has not come. Ranks without a place here are unknown: those of
// other nodes.
//
// A place holds the rank's last sign of life, what it is doing, and for each of its lines of
// collectives (those of one communicator, numbered from 1) how far it has come; and the counter of
// its NCCL stream, which is 0 until the rank has begun, then 1 + the number of collectives that it
// has enqueued.
//
// In shared memory, which has no name in any file system, one rank shares a board and tells the
// others its key, with which they open it. The caller does what must happen between: share,
// (barrier) open, (barrier) close_door.
//
// Any thread may read and write; only its own rank writes a place. Times are CLOCK_MONOTONIC's,
// which all processes of a node share.
class ProgressBoard {
 public:
  static constexpr int kLines = 16;
  static constexpr int kCalls = 256;  // in flight on one line, of which is known what they are

  // What collective number `sequence` of a line is: kind, then 56 bits of bytes.
  struct Call {
    std::atomic<uint64_t> sequence{0};
    std::atomic<uint64_t> what{0};
  };

  // How far one rank has come on one line. `id` tells lines apart that use the same slot one after
  // the other: of a line with a smaller id than this nothing is known any more.
  struct Line {
    std::atomic<uint64_t> id{0};     // 0: unused
    std::atomic<uint64_t> begun{0};  // the last collective that it has entered
    std::atomic<uint64_t> done{0};   // and the last that is complete
    std::array<Call, kCalls> calls;

    void enter(uint64_t sequence, uint64_t what);
    uint64_t what(uint64_t sequence) const;  // 0: not known
  };

  struct alignas(64) Place {  // cache lines of its own: writing one does not slow the others
    std::atomic<uint64_t> counter{0};
    std::atomic<int64_t> sign_ns{0};  // the last sign of life
    std::atomic<int64_t> step{0};
    std::atomic<int64_t> process{0};  // its id and when it began (ProcessState)
    std::atomic<uint64_t> began{0};
    std::atomic<Doing> doing{Doing::kStarting};
    std::atomic<uint32_t> answers{0};  // the watchdog's; 0: there is no alarm that it knows of
    std::array<Line, kLines> lines;
  };

  // Within one process.
  explicit ProgressBoard(std::vector<int> ranks);

  // `ranks` are those with a place, in the same order for all. Throw Error{kUnavailable}.
  static std::unique_ptr<ProgressBoard> share(std::vector<int> ranks);
  static std::unique_ptr<ProgressBoard> open(const SegmentKey& key, std::vector<int> ranks);
  const SegmentKey& key() const;  // of a board in shared memory
  void close_door() noexcept;     // after this nobody can open it any more

  ProgressBoard(const ProgressBoard&) = delete;
  ProgressBoard& operator=(const ProgressBoard&) = delete;

  void begin(int rank) { place(rank).counter.store(1, std::memory_order_relaxed); }
  void enqueued(int rank, uint64_t collectives) {
    place(rank).counter.store(1 + collectives, std::memory_order_relaxed);
  }

  // The place of a rank that has one.
  Place& place(int rank);
  const Place* find(int rank) const;  // null: unknown
  const std::vector<int>& ranks() const { return ranks_; }

  // The collectives that a rank has enqueued; nothing if it has not begun or is unknown.
  bool knows(int rank) const { return find(rank) != nullptr; }
  std::optional<uint64_t> progress(int rank) const;

  // Who of `world` ranks has not enqueued collective number `sequence` (counted from 1; 0: has not
  // begun), in words: "3 ranks have enqueued it; rank 3 is BEHIND (#12)". At most 16 are named.
  std::string describe(uint64_t sequence, int world) const;

 private:
  ProgressBoard(std::vector<int> ranks, SharedSegment segment);

  std::vector<int> ranks_;
  std::vector<Place> own_;
  std::optional<SharedSegment> segment_;
  Place* places_;
};

}  // namespace largo::comm
