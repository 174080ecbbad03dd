#include "comm/flight_record.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "comm/base/error.h"
#include "comm/process_state.h"

namespace largo::comm {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

thread_local CallName::Value
    current_name;  // NOLINT(*-avoid-non-const-global-variables): per thread

}  // namespace

const char* to_string(CallKind kind) {
  switch (kind) {
    case CallKind::kAllReduce:
      return "all_reduce";
    case CallKind::kBroadcast:
      return "broadcast";
    case CallKind::kAllGather:
      return "all_gather";
    case CallKind::kBarrier:
      return "barrier";
    case CallKind::kSplit:
      return "split";
    case CallKind::kFinish:
      return "the end of MPI";
  }
  return "";
}

CallName::CallName(const char* what, int64_t number)
    : before_(std::exchange(current_name, Value{what, number})) {}

CallName::~CallName() { current_name = before_; }

CallName::Value CallName::current() { return current_name; }

std::string FlightRecord::unpacked(uint64_t what) {
  const auto kind = static_cast<CallKind>(what >> 56);
  const uint64_t bytes = what & ((uint64_t{1} << 56) - 1);
  return bytes == 0 ? std::string(to_string(kind))
                    : concat(to_string(kind), " of ", bytes, " bytes");
}

std::string to_string(const CallRecord& call) {
  std::string text = FlightRecord::unpacked(FlightRecord::pack(call.kind, call.bytes));
  if (call.name.what == nullptr) return text;
  return call.name.number < 0 ? concat(text, " (", call.name.what, ")")
                              : concat(text, " (", call.name.what, " ", call.name.number, ")");
}

FlightRecord::FlightRecord(std::shared_ptr<ProgressBoard> board, int rank)
    : board_(std::move(board)), rank_(rank), place_(board_->place(rank)) {
  place_.began.store(began_of(getpid()), kRelaxed);
  place_.process.store(getpid(), kRelaxed);
  mark(Doing::kStarting, 0);
}

int64_t FlightRecord::now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

void FlightRecord::mark(Doing doing, int64_t step) {
  place_.doing.store(doing, kRelaxed);
  place_.step.store(step, kRelaxed);
  place_.sign_ns.store(now_ns(), kRelaxed);
}

FlightRecord::Line::Line(std::shared_ptr<FlightRecord> record, std::string name,
                         std::vector<int> members)
    : record_(std::move(record)),
      id_([this] {
        const std::scoped_lock lock(record_->mutex_);
        return ++record_->lines_made_;
      }()),
      name_(std::move(name)),
      members_(std::move(members)),
      slot_(&record_->place_.lines[(id_ - 1) % ProgressBoard::kLines]) {
  slot_->id.store(0, std::memory_order_release);  // nobody's while it is written
  slot_->begun.store(0, std::memory_order_release);
  slot_->done.store(0, std::memory_order_release);
  for (ProgressBoard::Call& call : slot_->calls) call.sequence.store(0, kRelaxed);
  slot_->id.store(id_, std::memory_order_release);
  const std::scoped_lock lock(record_->mutex_);
  record_->lines_.push_back(this);
}

FlightRecord::Line::~Line() {
  const std::scoped_lock lock(record_->mutex_);
  std::erase(record_->lines_, this);
}

void FlightRecord::Line::enter(CallKind kind, uint64_t bytes, CallName::Value name) {
  const int64_t now = now_ns();
  const uint64_t sequence = begun_.load(kRelaxed) + 1;
  const auto write = [&](Entry& entry) {
    entry.sequence.store(0, kRelaxed);  // nobody's while it is written
    entry.line.store(id_, std::memory_order_release);
    entry.what.store(pack(kind, bytes), kRelaxed);
    entry.step.store(record_->place_.step.load(kRelaxed), kRelaxed);
    entry.name.store(name.what, kRelaxed);
    entry.number.store(name.number, kRelaxed);
    entry.begin_ns.store(now, kRelaxed);
    entry.end_ns.store(0, kRelaxed);
    entry.sequence.store(sequence, std::memory_order_release);
  };
  write(record_->entries_[record_->calls_.fetch_add(1, kRelaxed) % kKept]);
  write(calls_[sequence % calls_.size()]);
  // Another thread may be in leave() for the call before: then it sets this, or has just done so.
  if (done_.load(std::memory_order_acquire) + 1 == sequence) head_ns_.store(now, kRelaxed);
  if (slot_->id.load(kRelaxed) == id_) slot_->enter(sequence, pack(kind, bytes));
  begun_.store(sequence, std::memory_order_release);
  record_->place_.sign_ns.store(now, kRelaxed);
}

void FlightRecord::Line::leave() {
  const int64_t now = now_ns();
  const uint64_t sequence = done_.load(kRelaxed) + 1;
  if (Entry* entry = record_->find(id_, sequence)) entry->end_ns.store(now, kRelaxed);
  head_ns_.store(now, kRelaxed);
  if (slot_->id.load(kRelaxed) == id_) slot_->done.store(sequence, std::memory_order_release);
  done_.store(sequence, std::memory_order_release);
  record_->place_.sign_ns.store(now, kRelaxed);
}

FlightRecord::Entry* FlightRecord::find(uint64_t line, uint64_t sequence) {
  for (Entry& entry : entries_) {
    if (entry.sequence.load(std::memory_order_acquire) == sequence &&
        entry.line.load(kRelaxed) == line) {
      return &entry;
    }
  }
  return nullptr;
}

CallRecord FlightRecord::read(const Entry& entry) {
  const uint64_t sequence = entry.sequence.load(std::memory_order_acquire);
  const uint64_t what = entry.what.load(kRelaxed);
  return {.line = entry.line.load(kRelaxed),
          .sequence = sequence,
          .kind = static_cast<CallKind>(what >> 56),
          .bytes = what & ((uint64_t{1} << 56) - 1),
          .step = entry.step.load(kRelaxed),
          .name = {entry.name.load(kRelaxed), entry.number.load(kRelaxed)},
          .begin_ns = entry.begin_ns.load(kRelaxed),
          .end_ns = entry.end_ns.load(kRelaxed)};
}

std::vector<FlightRecord::Waiting> FlightRecord::waiting() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Waiting> found;
  for (const Line* line : lines_) {
    const uint64_t done = line->done_.load(std::memory_order_acquire);
    if (line->begun_.load(std::memory_order_acquire) <= done) continue;
    Waiting waiting = {.line = line->name_, .members = line->members_, .call = {}};
    const Entry& entry = line->calls_[(done + 1) % line->calls_.size()];
    const CallRecord call = read(entry);
    waiting.call_known = call.sequence == done + 1 && read(entry).sequence == done + 1;
    if (waiting.call_known) waiting.call = call;
    waiting.call.line = line->id_;
    waiting.call.sequence = done + 1;
    waiting.since_ns = line->head_ns_.load(kRelaxed);
    found.push_back(std::move(waiting));
  }
  return found;
}

std::vector<FlightRecord::Position> FlightRecord::positions() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Position> positions;
  positions.reserve(lines_.size());
  for (const Line* line : lines_) {
    const uint64_t done = line->done_.load(std::memory_order_acquire);
    const CallRecord call = read(line->calls_[(done + 1) % line->calls_.size()]);
    positions.push_back({.line = line->id_,
                         .name = line->name_,
                         .begun = line->begun_.load(std::memory_order_acquire),
                         .done = done,
                         .what = call.sequence == done + 1 ? pack(call.kind, call.bytes) : 0});
  }
  return positions;
}

std::string FlightRecord::dump() const {
  std::vector<CallRecord> calls;
  calls.reserve(kKept);
  for (const Entry& entry : entries_) {
    const CallRecord call = read(entry);
    if (call.sequence > 0) calls.push_back(call);
  }
  std::sort(calls.begin(), calls.end(),
            [](const CallRecord& a, const CallRecord& b) { return a.begin_ns < b.begin_ns; });
  const int64_t now = now_ns();
  const auto seconds = [](int64_t ns) { return static_cast<double>(ns) * 1e-9; };
  std::string text;
  for (const CallRecord& call : calls) {
    text += concat("  ", seconds(now - call.begin_ns), " s ago, step ", call.step, ", line ",
                   call.line, " #", call.sequence, ": ", to_string(call),
                   call.end_ns == 0 ? std::string(", NOT COMPLETE")
                                    : concat(", took ", seconds(call.end_ns - call.begin_ns), " s"),
                   "\n");
  }
  return text;
}

}  // namespace largo::comm
