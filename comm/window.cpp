#include "comm/window.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstring>
#include <utility>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kSlotOffset = Window::kSignatureBytes;
constexpr int64_t kLetterOffset = 4096;
constexpr int64_t kScratchOffset = kLetterOffset + 2 * Window::kLetterBytes;
static_assert(kScratchOffset + Window::kScratchBytes <= Window::kTensorOffset);

constexpr int64_t kLetterSumBytes = 2 << 10;  // one meeting, but everybody adds everything
constexpr int64_t kNearBytes = 512 << 10;     // of scratch memory at once: they stay in the cache

// A microsecond, in which a rank on another core comes that is on its way; then some hundred, in
// which whoever else wants this core gets it. More spinning would cost ranks that share a core.
constexpr int kSpins = 20;
constexpr int kYields = 500;

constexpr uint64_t kElsewhere = 0;  // no tensor lies at the start of a segment

using Word = std::atomic<uint32_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 4);

// The waits of other processes, so not FUTEX_PRIVATE.
void sleep_while(Word& word, uint32_t value) {
  const timespec a_second{.tv_sec = 1, .tv_nsec = 0};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, value, &a_second, nullptr, 0);
}

void wake_all(Word& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct Window::Post {
  uint64_t place = kElsewhere;  // of the numbers in the rank's segment
  int64_t elements = 0;
  Call call = Call::kBarrier;
  WindowType type = WindowType::kFloat;
  WindowOp op = WindowOp::kSum;

  bool same_call(const Post& other) const {
    return elements == other.elements && call == other.call && type == other.type && op == other.op;
  }

  std::string text() const {
    switch (call) {
      case Call::kBarrier:
        return "barrier";
      case Call::kAllGather:
        return concat("all_gather of ", elements, " bytes");
      case Call::kAllReduce:
        return concat("all_reduce (", to_string(op), ") of ", elements, " ", to_string(type));
    }
    return "";
  }
};

// One cache line: who waits for a rank fetches its counter and its post at once.
struct alignas(kLine) Window::Slot {
  Word arrived;
  Word sleepers;
  Post posts[2];
};

Window::Window(WindowSetup setup) : setup_(std::move(setup)) {
  static_assert(sizeof(Slot) == kLine);
  LARGO_CHECK(setup_.rank >= 0 && setup_.rank < ranks(), "rank ", setup_.rank, " of ", ranks());
  LARGO_CHECK(setup_.segment_bytes >= window_segment_bytes(), setup_.segment_bytes, " bytes");
  LARGO_CHECK(setup_.lanes >= 0 && setup_.lanes <= ranks(), setup_.lanes, " lanes");
  if (setup_.lanes == 0) setup_.lanes = ranks();
}

Window::Slot& Window::slot(int rank) const {
  return *reinterpret_cast<Slot*>(setup_.segments[rank] + kSlotOffset);
}

std::byte* Window::letter(int rank) const {
  return setup_.segments[rank] + kLetterOffset + (calls_ % 2) * kLetterBytes;
}

std::byte* Window::scratch(int rank) const { return setup_.segments[rank] + kScratchOffset; }

bool Window::is_mine(const std::byte* data, int64_t bytes) const {
  const std::byte* segment = setup_.segments[setup_.rank];
  return data >= segment + kTensorOffset && data + bytes <= segment + setup_.segment_bytes;
}

void Window::wait_for(int rank) const {
  Slot& other = slot(rank);
  const auto is_there = [&](uint32_t arrived) {
    return static_cast<int32_t>(arrived - round_) >= 0;
  };
  for (int i = 0; i < kSpins; ++i) {
    if (is_there(other.arrived.load(std::memory_order_acquire))) return;
    pause_briefly();
  }
  for (int i = 0; i < kYields; ++i) {
    if (is_there(other.arrived.load(std::memory_order_acquire))) return;
    sched_yield();
  }
  other.sleepers.fetch_add(1);
  while (true) {
    const uint32_t seen = other.arrived.load();
    if (is_there(seen)) break;
    sleep_while(other.arrived, seen);
  }
  other.sleepers.fetch_sub(1);
}

void Window::meet() {
  Slot& mine = slot(setup_.rank);
  mine.arrived.store(++round_);
  // Sleepers count themselves before they look at `arrived` for the last time, so one of the two
  // sees the other.
  if (mine.sleepers.load() > 0) wake_all(mine.arrived);
  for (int r = 0; r < ranks(); ++r) {
    if (r != setup_.rank) wait_for(r);
  }
}

void Window::check_posts(const Post& mine) const {
  for (int r = 0; r < ranks(); ++r) {
    const Post& other = slot(r).posts[calls_ % 2];
    if (!mine.same_call(other)) {
      fail(ExitCode::kInternal, "ranks call different collectives: ", mine.text(), " on rank ",
           setup_.rank, " of the node, ", other.text(), " on rank ", r);
    }
  }
}

void Window::post(const Post& mine) {
  slot(setup_.rank).posts[calls_ % 2] = mine;
  meet();
  check_posts(mine);
}

void Window::barrier() {
  ++calls_;
  post({.call = Call::kBarrier});
}

void Window::all_gather(const std::byte* mine, std::byte* all, int64_t bytes) {
  LARGO_CHECK(bytes <= kLetterBytes, bytes, " bytes in a letterbox");
  ++calls_;
  const auto size = static_cast<size_t>(bytes);
  if (bytes > 0) std::memcpy(letter(setup_.rank), mine, size);
  post({.elements = bytes, .call = Call::kAllGather});
  for (int r = 0; r < ranks() && bytes > 0; ++r) std::memcpy(all + r * bytes, letter(r), size);
}

void Window::reduce_letters(std::byte* data, int64_t elements, WindowType type, WindowOp op) {
  if (elements > 0) {
    std::memcpy(letter(setup_.rank), data, static_cast<size_t>(elements * element_bytes(type)));
  }
  post({.elements = elements, .call = Call::kAllReduce, .type = type, .op = op});
  std::vector<const std::byte*> letters;
  letters.reserve(setup_.segments.size());
  for (int r = 0; r < ranks(); ++r) letters.push_back(letter(r));
  combine(type, op, letters, {data}, elements);
}

// This rank's part of all ranks' buffers. Parts begin at cache lines of a buffer that does.
void Window::reduce_parts(const std::vector<std::byte*>& buffers, int64_t elements, WindowType type,
                          WindowOp op, const BetweenNodes& between_nodes) {
  const int lane = setup_.rank;
  if (lane >= setup_.lanes) return;
  const int64_t unit = kLine / element_bytes(type);
  const int64_t units = (elements + unit - 1) / unit;
  const auto start_of = [&](int64_t of) {
    return std::min(elements, units * of / setup_.lanes * unit);
  };
  const int64_t start = start_of(lane);
  const int64_t count = start_of(lane + 1) - start;
  const int64_t offset = start * element_bytes(type);
  std::vector<const std::byte*> inputs;
  std::vector<std::byte*> outputs;
  inputs.reserve(buffers.size());
  outputs.reserve(buffers.size());
  for (std::byte* buffer : buffers) {
    inputs.push_back(buffer + offset);
    outputs.push_back(buffer + offset);
  }
  if (!between_nodes) {
    combine(type, op, inputs, outputs, count);
    return;
  }
  std::byte* sum = outputs[lane];
  combine(type, op, inputs, {sum}, count);
  between_nodes(sum, count);  // of every lane, even an empty one: its peers on other nodes call it
  outputs.erase(outputs.begin() + lane);
  combine(type, op, {sum}, outputs, count);
}

void Window::all_reduce(std::byte* data, int64_t elements, WindowType type, WindowOp op,
                        const BetweenNodes& between_nodes) {
  ++calls_;
  const int64_t bytes = elements * element_bytes(type);
  if (!between_nodes && bytes <= kLetterSumBytes) return reduce_letters(data, elements, type, op);

  // Whoever has its numbers elsewhere copies them through its scratch memory, a chunk at a time,
  // and then all ranks of the node take chunks. Between nodes everybody does, so that no node need
  // know how another one's numbers lie.
  const bool mine = is_mine(data, bytes);
  std::byte* const own_scratch = scratch(setup_.rank);
  int64_t chunk = (between_nodes ? kScratchBytes : kNearBytes) / element_bytes(type);
  const auto bytes_from = [&](int64_t first) {
    return static_cast<size_t>(std::min(chunk, elements - first) * element_bytes(type));
  };
  if (elements == 0) return post({.call = Call::kAllReduce, .type = type, .op = op});
  if (!mine) std::memcpy(own_scratch, data, bytes_from(0));
  post({.place = mine ? static_cast<uint64_t>(data - setup_.segments[setup_.rank]) : kElsewhere,
        .elements = elements,
        .call = Call::kAllReduce,
        .type = type,
        .op = op});
  std::vector<std::byte*> tensors(setup_.segments.size());  // null: passes through scratch memory
  for (int r = 0; r < ranks(); ++r) {
    const uint64_t place = slot(r).posts[calls_ % 2].place;
    if (place != kElsewhere) tensors[r] = setup_.segments[r] + place;
  }
  const bool in_place = std::find(tensors.begin(), tensors.end(), nullptr) == tensors.end();
  if (in_place && !between_nodes) chunk = elements;

  std::vector<std::byte*> buffers(tensors.size());
  for (int64_t first = 0;; first += chunk) {
    const int64_t offset = first * element_bytes(type);
    for (int r = 0; r < ranks(); ++r) {
      buffers[r] = tensors[r] != nullptr ? tensors[r] + offset : scratch(r);
    }
    reduce_parts(buffers, std::min(chunk, elements - first), type, op, between_nodes);
    const bool last = first + chunk >= elements;
    if (last || !in_place) meet();
    if (!mine) std::memcpy(data + offset, own_scratch, bytes_from(first));
    if (last) return;
    if (!mine) {
      const int64_t next = first + chunk;
      std::memcpy(own_scratch, data + next * element_bytes(type), bytes_from(next));
    }
    if (!in_place) meet();
  }
}

}  // namespace largo::comm
