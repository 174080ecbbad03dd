#include "comm/shared_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <system_error>
#include <utility>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

constexpr int64_t kLargePage = int64_t{2} << 20;
constexpr int64_t kPage = 4096;
constexpr int64_t kLine = 64;

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

[[noreturn]] void refused(const std::string& what) {
  fail(ExitCode::kUnavailable, what, ": ", std::generic_category().message(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

// Address space where a mapping of `bytes` can begin at a large page.
std::byte* reserve(int64_t bytes) {
  const auto length = static_cast<size_t>(bytes + kLargePage);
  void* const space =
      mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) refused(concat("address space of ", bytes, " bytes"));
  auto* const begin = static_cast<std::byte*>(space);
  const auto address = reinterpret_cast<uintptr_t>(begin);
  std::byte* const aligned = begin + (kLargePage - address % kLargePage) % kLargePage;
  if (aligned > begin) munmap(begin, static_cast<size_t>(aligned - begin));
  std::byte* const end = aligned + round_up(bytes, kPage);
  if (begin + length > end) munmap(end, static_cast<size_t>(begin + length - end));
  return aligned;
}

}  // namespace

void SharedSegment::map(int descriptor) {
  data_ = reserve(key_.bytes);
  void* const place = mmap(data_, static_cast<size_t>(key_.bytes), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_FIXED | MAP_NORESERVE, descriptor, 0);
  if (place == MAP_FAILED) refused(concat("mapping ", key_.bytes, " bytes of shared memory"));
  madvise(data_, static_cast<size_t>(key_.bytes), MADV_DONTDUMP);
}

SharedSegment SharedSegment::make(int64_t bytes) {
  SharedSegment segment;
  segment.key_.bytes = round_up(bytes, kPage);
  // Growing a file beyond the limit is not an error but a signal.
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      limit.rlim_cur < static_cast<rlim_t>(segment.key_.bytes)) {
    fail(ExitCode::kUnavailable, "files may grow to ", limit.rlim_cur, " bytes (ulimit -f), and ",
         segment.key_.bytes, " bytes of shared memory count as one");
  }
  segment.descriptor_ = memfd_create("largo", MFD_CLOEXEC);
  if (segment.descriptor_ < 0) refused("memfd_create");
  if (ftruncate(segment.descriptor_, segment.key_.bytes) != 0) {
    refused(concat("shared memory of ", segment.key_.bytes, " bytes"));
  }
  segment.map(segment.descriptor_);
  segment.key_.process = getpid();
  segment.key_.descriptor = segment.descriptor_;
  std::random_device random;
  for (uint64_t& part : segment.key_.signature) part = (uint64_t{random()} << 32) | random();
  std::memcpy(segment.data_, segment.key_.signature, sizeof(segment.key_.signature));
  return segment;
}

SharedSegment SharedSegment::open(const SegmentKey& key) {
  const std::string path = concat("/proc/", key.process, "/fd/", key.descriptor);
  const Descriptor descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (descriptor.get() < 0) refused(concat("opening ", path, ", a segment of another rank"));
  std::array<uint64_t, 2> signature{};
  if (pread(descriptor.get(), signature.data(), sizeof(signature), 0) != sizeof(signature) ||
      !std::equal(signature.begin(), signature.end(), key.signature)) {
    fail(ExitCode::kUnavailable, path, " is not the other rank's segment; process ids differ ",
         "between containers that do not share them");
  }
  SharedSegment segment;
  segment.key_ = key;
  segment.map(descriptor.get());
  return segment;
}

SharedSegment::SharedSegment(SharedSegment&& other) noexcept
    : key_(other.key_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      data_(std::exchange(other.data_, nullptr)) {}

SharedSegment& SharedSegment::operator=(SharedSegment&& other) noexcept {
  std::swap(key_, other.key_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_, other.data_);
  return *this;
}

SharedSegment::~SharedSegment() {
  close_door();
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(key_.bytes));
}

void SharedSegment::close_door() noexcept {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

struct SegmentBlocks::State {
  std::shared_ptr<const SharedSegment> segment;
  std::mutex mutex;
  std::map<int64_t, int64_t> used;  // begin of a block -> its end; with [0, first) as one

  // Where the first gap of so many bytes is; -1 where none.
  int64_t find(int64_t bytes, int64_t alignment) const {
    for (auto block = used.begin(); block != used.end(); ++block) {
      const auto next = std::next(block);
      const int64_t begin = round_up(block->second, alignment);
      const int64_t limit = next == used.end() ? segment->bytes() : next->first;
      if (bytes <= limit - begin) return begin;
    }
    return -1;
  }

  // Whole pages go back to the system, which is also how they become zeros again.
  void free(int64_t begin) {
    const std::scoped_lock lock(mutex);
    const auto block = used.find(begin);
    const int64_t from = round_up(begin, kPage);
    const int64_t to = block->second / kPage * kPage;
    if (from < to) madvise(segment->data() + from, static_cast<size_t>(to - from), MADV_REMOVE);
    used.erase(block);
  }
};

SegmentBlocks::SegmentBlocks(std::shared_ptr<const SharedSegment> segment, int64_t first)
    : state_(std::make_shared<State>()) {
  state_->segment = std::move(segment);
  state_->used[0] = first;
}

std::shared_ptr<std::byte> SegmentBlocks::allocate(int64_t bytes) {
  bytes = round_up(std::max(bytes, int64_t{1}), kLine);
  const bool large = bytes >= kLargePage;
  int64_t begin;
  {
    const std::scoped_lock lock(state_->mutex);
    begin = state_->find(bytes, large ? kLargePage : kLine);
    if (begin < 0) return nullptr;
    state_->used[begin] = begin + bytes;
  }
  std::byte* const data = state_->segment->data() + begin;
  if (large) madvise(data, static_cast<size_t>(bytes / kLargePage * kLargePage), MADV_HUGEPAGE);
  std::memset(data, 0, static_cast<size_t>(bytes));
  return {data, [state = state_, begin](std::byte*) { state->free(begin); }};
}

}  // namespace largo::comm
