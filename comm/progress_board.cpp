#include "comm/progress_board.h"

#include <algorithm>
#include <utility>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

constexpr size_t kFirst = alignof(ProgressBoard::Place);  // before it: the segment's signature

}  // namespace

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<Doing>::is_always_lock_free,
              "places are shared between processes");

ProgressBoard::ProgressBoard(std::vector<int> ranks)
    : ranks_(std::move(ranks)), own_(ranks_.size()), places_(own_.data()) {
  LARGO_CHECK(!ranks_.empty(), "a progress board of no ranks");
}

// Fresh shared memory is all zeros, which is what the place of a rank that has not begun holds.
ProgressBoard::ProgressBoard(std::vector<int> ranks, SharedSegment segment)
    : ranks_(std::move(ranks)),
      segment_(std::move(segment)),
      places_(reinterpret_cast<Place*>(segment_->data() + kFirst)) {}

std::unique_ptr<ProgressBoard> ProgressBoard::share(std::vector<int> ranks) {
  LARGO_CHECK(!ranks.empty(), "a progress board of no ranks");
  const auto bytes = static_cast<int64_t>(kFirst + ranks.size() * sizeof(Place));
  return std::unique_ptr<ProgressBoard>(
      new ProgressBoard(std::move(ranks), SharedSegment::make(bytes)));
}

std::unique_ptr<ProgressBoard> ProgressBoard::open(const SegmentKey& key, std::vector<int> ranks) {
  return std::unique_ptr<ProgressBoard>(
      new ProgressBoard(std::move(ranks), SharedSegment::open(key)));
}

const SegmentKey& ProgressBoard::key() const {
  LARGO_CHECK(segment_.has_value(), "a progress board within one process has no key");
  return segment_->key();
}

void ProgressBoard::close_door() noexcept {
  if (segment_) segment_->close_door();
}

// Who reads a call between the first store and the last finds another number, or none.
void ProgressBoard::Line::enter(uint64_t sequence, uint64_t what) {
  Call& call = calls[sequence % kCalls];
  call.sequence.store(0, std::memory_order_relaxed);
  call.what.store(what, std::memory_order_release);
  call.sequence.store(sequence, std::memory_order_release);
  begun.store(sequence, std::memory_order_release);
}

uint64_t ProgressBoard::Line::what(uint64_t sequence) const {
  const Call& call = calls[sequence % kCalls];
  if (call.sequence.load(std::memory_order_acquire) != sequence) return 0;
  const uint64_t what = call.what.load(std::memory_order_acquire);
  return call.sequence.load(std::memory_order_relaxed) == sequence ? what : 0;
}

const ProgressBoard::Place* ProgressBoard::find(int rank) const {
  const auto found = std::find(ranks_.begin(), ranks_.end(), rank);
  return found == ranks_.end() ? nullptr : places_ + (found - ranks_.begin());
}

ProgressBoard::Place& ProgressBoard::place(int rank) {
  const Place* found = find(rank);
  LARGO_CHECK(found != nullptr, "rank ", rank, " has no place on this progress board");
  return const_cast<Place&>(*found);
}

std::optional<uint64_t> ProgressBoard::progress(int rank) const {
  const Place* place = find(rank);
  const uint64_t value = place ? place->counter.load(std::memory_order_relaxed) : 0;
  return value == 0 ? std::nullopt : std::optional(value - 1);
}

std::string ProgressBoard::describe(uint64_t sequence, int world) const {
  constexpr int kNamed = 16;
  std::string late;
  int have = 0, unknown = 0, late_ranks = 0;
  for (int rank = 0; rank < world; ++rank) {
    const auto done = progress(rank);
    if (!knows(rank)) {
      ++unknown;
    } else if (done && *done >= sequence) {
      ++have;
    } else if (++late_ranks <= kNamed) {
      late += done ? concat("; rank ", rank, " is BEHIND (#", *done, ")")
                   : concat("; rank ", rank, " is ABSENT");
    }
  }
  if (late_ranks > kNamed) late += concat("; ", late_ranks - kNamed, " more ranks");
  std::string text = concat(have, have == 1 ? " rank has " : " ranks have ",
                            sequence == 0 ? "begun" : "enqueued it", late);
  if (unknown > 0) text += concat("; ", unknown, " on other nodes: unknown");
  return text;
}

}  // namespace largo::comm
