// Memory that the processes of one node share, without a name in any file system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace largo::comm {

// What another process needs to find a segment; plain bytes, to be sent as they are.
struct SegmentKey {
  int64_t process = 0;
  int64_t descriptor = 0;
  int64_t bytes = 0;
  uint64_t signature[2] = {};  // random, and in the segment's first bytes
};

// A mapped segment: anonymous memory (memfd) that other processes of this user open through
// /proc/PROCESS/fd while its maker keeps the descriptor. No file system ever has a name for it, so
// it goes with its last process, whatever ends that; and no mount's size limits it. Pages are made
// when they are first touched, on the toucher's NUMA node: a large segment costs nothing unused.
//
// All throw Error{kUnavailable} that says what the system refused: memfd or /proc may be missing,
// forbidden or another container's, address space or file sizes limited (ulimit -v, -f).
class SharedSegment {
 public:
  // Zeros.
  static SharedSegment make(int64_t bytes);

  // Another process's. Its signature proves that it is the one: process ids mean something else in
  // another container.
  static SharedSegment open(const SegmentKey& key);

  SharedSegment(SharedSegment&& other) noexcept;
  SharedSegment& operator=(SharedSegment&& other) noexcept;
  ~SharedSegment();

  std::byte* data() const { return data_; }  // aligned to 2 MiB, as large pages are
  int64_t bytes() const { return key_.bytes; }
  const SegmentKey& key() const { return key_; }

  // After this no more process can open it; those who have keep it.
  void close_door() noexcept;

 private:
  SharedSegment() = default;
  void map(int descriptor);

  SegmentKey key_;
  int descriptor_ = -1;
  std::byte* data_ = nullptr;
};

// Parts a segment's memory from `first` on into blocks for its owner. Blocks of large pages begin
// at one. Any thread may call.
class SegmentBlocks {
 public:
  SegmentBlocks(std::shared_ptr<const SharedSegment> segment, int64_t first);

  // Zeros, touched by the caller; null where no room is left. Given back when the last copy of the
  // pointer goes, which may be after everything else here; until then it keeps the memory alive.
  std::shared_ptr<std::byte> allocate(int64_t bytes);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace largo::comm
