// What a rank has called lately, for itself and for whoever waits for it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "comm/progress_board.h"

namespace largo::comm {

enum class CallKind : uint8_t { kAllReduce, kBroadcast, kAllGather, kBarrier, kSplit, kFinish };

const char* to_string(CallKind kind);

// A name for the collectives that the calling thread makes while it lives: "bucket 3". `what` must
// be a literal; without a number, `number` is negative.
class CallName {
 public:
  explicit CallName(const char* what, int64_t number = -1);
  ~CallName();
  CallName(const CallName&) = delete;
  CallName& operator=(const CallName&) = delete;

  struct Value {
    const char* what = nullptr;
    int64_t number = -1;
  };
  static Value current();

 private:
  Value before_;
};

// One call as it was recorded.
struct CallRecord {
  uint64_t line = 0;
  uint64_t sequence = 0;  // on its line, from 1
  CallKind kind = CallKind::kAllReduce;
  uint64_t bytes = 0;  // of this rank's part
  int64_t step = 0;
  CallName::Value name = {};
  int64_t begin_ns = 0;
  int64_t end_ns = 0;  // 0: not complete
};

// "all_reduce of 4000 bytes (bucket 3)"
std::string to_string(const CallRecord& call);

// The last calls of one rank, and its place on the board kept up to date. Writing costs some atomic
// stores and a look at the clock, and no lock; any thread may write and read.
//
// A line is the calls of one communicator: they run one after the other, though several may have
// been entered. Lines of one communicator have the same id on all its ranks, because all ranks make
// their communicators in one order.
class FlightRecord {
 public:
  static constexpr size_t kKept = 32;  // for dump(), of all lines together

  // `board` has a place for `rank`, and is this rank's to write there.
  FlightRecord(std::shared_ptr<ProgressBoard> board, int rank);

 private:
  // A CallRecord that is read while it is written: a torn one is an old call's end, no more.
  struct Entry {
    std::atomic<uint64_t> line{0};
    std::atomic<uint64_t> sequence{0};
    std::atomic<uint64_t> what{0};
    std::atomic<int64_t> step{0};
    std::atomic<const char*> name{nullptr};
    std::atomic<int64_t> number{-1};
    std::atomic<int64_t> begin_ns{0};
    std::atomic<int64_t> end_ns{0};
  };

 public:
  // The calls of one communicator of `members` (ranks of the job, ascending). One thread at a time.
  class Line {
   public:
    Line(std::shared_ptr<FlightRecord> record, std::string name, std::vector<int> members);
    ~Line();
    Line(const Line&) = delete;
    Line& operator=(const Line&) = delete;

    void enter(CallKind kind, uint64_t bytes, CallName::Value name);
    void leave();  // the first that is not complete has become so

    uint64_t id() const { return id_; }
    const std::string& name() const { return name_; }
    const std::vector<int>& members() const { return members_; }

   private:
    friend class FlightRecord;

    const std::shared_ptr<FlightRecord> record_;
    const uint64_t id_;
    const std::string name_;
    const std::vector<int> members_;
    ProgressBoard::Line* slot_;
    std::atomic<uint64_t> begun_{0};
    std::atomic<uint64_t> done_{0};
    std::atomic<int64_t> head_ns_{0};  // when the first that is not complete became the first
    std::array<Entry, ProgressBoard::kCalls> calls_;
  };

  // A call that lasts as long as this object; of no line where that is null.
  class Call {
   public:
    Call(Line* line, CallKind kind, uint64_t bytes, CallName::Value name) : line_(line) {
      if (line_ != nullptr) line_->enter(kind, bytes, name);
    }
    ~Call() {
      if (line_ != nullptr) line_->leave();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Line* line_;
  };

  // A sign of life.
  void mark(Doing doing, int64_t step);

  int rank() const { return rank_; }
  const ProgressBoard& board() const { return *board_; }
  Doing doing() const { return place_.doing.load(std::memory_order_relaxed); }
  void answer(uint32_t value) { place_.answers.store(value, std::memory_order_release); }

  // What a line waits for.
  struct Waiting {
    std::string line;
    std::vector<int> members;
    CallRecord call;
    bool call_known = false;  // false: more calls than are kept are under way; only its number is
    int64_t since_ns = 0;     // when it became the first of its line
  };
  std::vector<Waiting> waiting() const;

  // How far this rank is on each line.
  struct Position {
    uint64_t line = 0;
    std::string name;
    uint64_t begun = 0;
    uint64_t done = 0;
    uint64_t what = 0;  // 0: not known
  };
  std::vector<Position> positions() const;

  // The last kKept calls, oldest first, in words.
  std::string dump() const;

  static int64_t now_ns();  // CLOCK_MONOTONIC

  // The form of ProgressBoard::Call::what.
  static uint64_t pack(CallKind kind, uint64_t bytes) {
    return static_cast<uint64_t>(kind) << 56 | (bytes & ((uint64_t{1} << 56) - 1));
  }
  static std::string unpacked(uint64_t what);  // "all_reduce of 4000 bytes"

 private:
  Entry* find(uint64_t line, uint64_t sequence);
  static CallRecord read(const Entry& entry);

  std::shared_ptr<ProgressBoard> board_;
  int rank_;
  ProgressBoard::Place& place_;
  std::array<Entry, kKept> entries_;
  std::atomic<uint64_t> calls_{0};

  mutable std::mutex mutex_;  // of the list of lines
  std::vector<Line*> lines_;
  uint64_t lines_made_ = 0;
};

}  // namespace largo::comm
