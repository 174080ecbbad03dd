#include "comm/progress_board.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "comm/base/error.h"

namespace largo::comm {

static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<Doing>::is_always_lock_free,
              "places are shared between processes");

ProgressBoard::ProgressBoard(std::vector<int> ranks)
    : ranks_(std::move(ranks)), own_(ranks_.size()), places_(own_.data()) {
  LARGO_CHECK(!ranks_.empty(), "a progress board of no ranks");
}

// Fresh shared memory is all zeros, which is what the place of a rank that has not begun holds.
ProgressBoard::ProgressBoard(std::vector<int> ranks, void* mapped)
    : ranks_(std::move(ranks)), places_(static_cast<Place*>(mapped)) {}

ProgressBoard::~ProgressBoard() {
  if (own_.empty()) munmap(places_, ranks_.size() * sizeof(Place));
}

std::unique_ptr<ProgressBoard> ProgressBoard::map(const std::string& name, std::vector<int> ranks,
                                                  int flags) {
  LARGO_CHECK(!ranks.empty(), "a progress board of no ranks");
  const auto failed = [&](const char* call) {
    fail(ExitCode::kUnavailable, "progress board ", name, ": ", call, ": ", std::strerror(errno));
  };
  const int file = shm_open(name.c_str(), O_RDWR | O_CLOEXEC | flags, 0600);
  if (file < 0) failed("shm_open");
  const size_t bytes = ranks.size() * sizeof(Place);
  void* memory = MAP_FAILED;
  // Allocated, not only sized: on a full /dev/shm the first write would otherwise be a SIGBUS.
  const int full = flags & O_CREAT ? posix_fallocate(file, 0, static_cast<off_t>(bytes)) : 0;
  if (full == 0) memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const int error = full != 0 ? full : errno;
  close(file);
  if (memory == MAP_FAILED) {
    if (flags & O_CREAT) unlink(name);
    errno = error;
    failed(full != 0 ? "posix_fallocate" : "mmap");
  }
  return std::unique_ptr<ProgressBoard>(new ProgressBoard(std::move(ranks), memory));
}

std::unique_ptr<ProgressBoard> ProgressBoard::create(const std::string& name,
                                                     std::vector<int> ranks) {
  return map(name, std::move(ranks), O_CREAT | O_EXCL);
}

std::unique_ptr<ProgressBoard> ProgressBoard::open(const std::string& name,
                                                   std::vector<int> ranks) {
  return map(name, std::move(ranks), 0);
}

void ProgressBoard::unlink(const std::string& name) noexcept { shm_unlink(name.c_str()); }

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
