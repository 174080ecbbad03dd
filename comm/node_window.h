// Shared memory under an MPI communicator. For comm/*.cpp only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/mpi_check.h"
#include "comm/shared_segment.h"
#include "comm/window.h"

namespace largo::comm {

// Reductions of the ranks of a communicator through a window on each node. Between nodes, the ranks
// with the same place on their nodes sum one part each through MPI, at the same time: as many of
// them, on every node, as the node with the fewest ranks has.
//
// bfloat16 goes between nodes as such: parts are exchanged, summed in float32 in the order of the
// nodes, and rounded once. So a sum over nodes is rounded twice, however many they are.
//
// All calls are collectives of all ranks; one thread at a time. Construction waits for the other
// ranks; destruction does not, unless MPI does in freeing a communicator.
class NodeWindow {
 public:
  // Null, on all ranks alike, where a rank cannot have its memory or where no two ranks share a
  // node; `words` says so, or how sums travel. `node` puts ranks on made-up nodes, for tests; they
  // must in fact share one.
  static std::shared_ptr<NodeWindow> make(MPI_Comm comm, std::optional<int> node,
                                          std::string& words);

  NodeWindow(const NodeWindow&) = delete;
  NodeWindow& operator=(const NodeWindow&) = delete;

  // Zeros that all_reduce need not copy; null where no room is left. Not a collective.
  std::shared_ptr<std::byte> allocate(int64_t bytes) { return blocks_.allocate(bytes); }

  // kTreeSum within one node only.
  void all_reduce(std::byte* data, int64_t elements, WindowType type, WindowOp op);

  bool is_one_node() const { return one_node_; }

  // Whether all_gather and barrier can do without MPI: where there is one node, and for a little.
  bool gathers(int64_t bytes) const { return one_node_ && bytes <= Window::kLetterBytes; }
  void all_gather(const std::byte* mine, std::byte* all, int64_t bytes) {
    window_.all_gather(mine, all, bytes);
  }
  void barrier() { window_.barrier(); }

 private:
  struct Parts;
  explicit NodeWindow(Parts parts);

  void sum_between_nodes(std::byte* part, int64_t elements, WindowType type, WindowOp op);

  std::shared_ptr<const SharedSegment> own_;
  std::vector<SharedSegment> others_;
  bool one_node_;
  MpiComm
      lane_;  // the ranks of all nodes that sum the same parts; none for a rank beyond the lanes
  SegmentBlocks blocks_;
  Window window_;
};

}  // namespace largo::comm
