// Collectives of the ranks of one node through memory that all of them see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/base/cpu_isa.h"
#include "comm/window_sums.h"

namespace largo::comm {

struct WindowSetup {
  // One segment per rank, in the order of the ranks, as this process sees them: zeros at first,
  // each aligned to 64 bytes and window_segment_bytes() long or longer.
  std::vector<std::byte*> segments;
  int64_t segment_bytes = 0;
  int rank = 0;
  int lanes = 0;  // ranks that sum a part each; 0: all. The same on all ranks
};

// One rank's view of a window: its segment, which it owns and others read and write inside
// collectives, and everybody else's.
//
//   segment: [signature | counter and calls | two letterboxes | scratch | tensors ...]
//
// A call begins with a post: the rank writes what it calls and where its numbers lie, and counts
// up; it goes on when every rank has counted as far. So each rank knows what all ranks called and
// where their numbers are, and ranks that call different things all throw Error{kInternal} instead
// of summing one thing into another. Posts and letterboxes alternate between two places: a rank
// that is one call ahead disturbs nobody, and none can be two ahead.
//
// Waiting spins for some microseconds, then sleeps (futex), so that a late or dead rank costs no
// processor time. It has no end of its own: whoever started the ranks, or a watchdog, ends them.
//
// Neither construction nor destruction waits for other ranks; the memory belongs to the caller and
// must outlive calls. One thread at a time. No MPI, no LibTorch: ranks may be threads.
class Window {
 public:
  explicit Window(WindowSetup setup);
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  // What goes on between the nodes, of a part that this rank has summed over its own, in place.
  using BetweenNodes = std::function<void(std::byte* part, int64_t elements)>;

  // Sums (or maxima, or tree sums) over the ranks, in the order of the ranks: the bits depend on
  // nothing else and are the same on all ranks. Tree sums are not for use with `between_nodes`.
  // Numbers that lie in this rank's segment are summed where they are; others pass through the
  // scratch memory. With `between_nodes`, `lanes` ranks call it, each for its part, and equally
  // often on all nodes that have as many lanes; all ranks give it or none.
  void all_reduce(std::byte* data, int64_t elements, WindowType type, WindowOp op,
                  const BetweenNodes& between_nodes = nullptr);

  // The `bytes` of every rank one after the other; at most kLetterBytes.
  void all_gather(const std::byte* mine, std::byte* all, int64_t bytes);

  void barrier();

  static constexpr int64_t kSignatureBytes = 64;     // at the start, not used by the window
  static constexpr int64_t kLetterBytes = 16 << 10;  // what passes by letterbox
  static constexpr int64_t kScratchBytes = 4 << 20;  // what goes between nodes at once
  static constexpr int64_t kTensorOffset = 6 << 20;  // where tensors may lie, to the end

 private:
  struct Post;
  struct Slot;
  enum class Call : uint8_t { kBarrier, kAllGather, kAllReduce };

  Slot& slot(int rank) const;
  std::byte* letter(int rank) const;  // of the call under way
  std::byte* scratch(int rank) const;
  int ranks() const { return static_cast<int>(setup_.segments.size()); }
  bool is_mine(const std::byte* data, int64_t bytes) const;

  void post(const Post& mine);  // returns when all ranks have posted the same call
  void check_posts(const Post& mine) const;
  void meet();  // returns when all ranks have come
  void wait_for(int rank) const;
  void reduce_letters(std::byte* data, int64_t elements, WindowType type, WindowOp op);
  void reduce_parts(const std::vector<std::byte*>& buffers, int64_t elements, WindowType type,
                    WindowOp op, const BetweenNodes& between_nodes);

  WindowSetup setup_;
  uint32_t round_ = 0;  // how often all have met
  uint32_t calls_ = 0;
};

// The least a segment can be; more is room for tensors.
constexpr int64_t window_segment_bytes() { return Window::kTensorOffset; }

}  // namespace largo::comm
