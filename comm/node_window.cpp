#include "comm/node_window.h"

#include <algorithm>
#include <utility>

#include "comm/base/error.h"
#include "comm/mpi_combine.h"

namespace largo::comm {

namespace {

// Address space, of which only what tensors fill is memory: room for 4 billion float32 gradients.
constexpr int64_t kSegmentBytes = int64_t{16} << 30;

MpiComm ranks_of_node(MPI_Comm comm, std::optional<int> node) {
  int rank = 0;
  mpi_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  MPI_Comm part = MPI_COMM_NULL;
  if (node) {
    mpi_check(MPI_Comm_split(comm, *node, rank, &part), "MPI_Comm_split");
  } else {
    mpi_check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &part),
              "MPI_Comm_split_type");
  }
  return MpiComm(part);
}

int over_all(MPI_Comm comm, int value, MPI_Op op) {
  int result = 0;
  mpi_check(MPI_Allreduce(&value, &result, 1, MPI_INT, op, comm), "MPI_Allreduce");
  return result;
}

// What the lowest rank with a problem says, on all ranks; empty if none has one.
std::string agree_on_problem(MPI_Comm comm, const std::string& mine) {
  int rank = 0, size = 0;
  mpi_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(comm, &size), "MPI_Comm_size");
  const int first = over_all(comm, mine.empty() ? size : rank, MPI_MIN);
  if (first == size) return "";
  std::string text = concat("rank ", first, ": ", mine);
  int length = static_cast<int>(text.size());
  mpi_check(MPI_Bcast(&length, 1, MPI_INT, first, comm), "MPI_Bcast");
  text.resize(static_cast<size_t>(length));
  mpi_check(MPI_Bcast(text.data(), length, MPI_BYTE, first, comm), "MPI_Bcast");
  return text;
}

}  // namespace

struct NodeWindow::Parts {
  std::shared_ptr<SharedSegment> own;
  std::vector<SharedSegment> others;
  MpiComm lane;
  WindowSetup setup;
  bool one_node = true;
};

std::shared_ptr<NodeWindow> NodeWindow::make(MPI_Comm comm, std::optional<int> node,
                                             std::string& words) {
  const MpiComm mates = ranks_of_node(comm, node);
  const int place = mates.rank();
  const int ranks = mates.size();
  const int lanes = over_all(comm, ranks, MPI_MIN);
  const int nodes = over_all(comm, place == 0 ? 1 : 0, MPI_SUM);
  if (over_all(comm, ranks, MPI_MAX) == 1) {
    words = "MPI; no two ranks are on one node";
    return nullptr;
  }
  std::string problem;
  const auto attempt = [&problem](const auto& action) {
    try {
      if (problem.empty()) action();
    } catch (const Error& error) {
      problem = error.what();
    }
  };
  Parts parts;
  attempt([&] { parts.own = std::make_shared<SharedSegment>(SharedSegment::make(kSegmentBytes)); });
  const SegmentKey mine = parts.own ? parts.own->key() : SegmentKey{};
  std::vector<SegmentKey> keys(static_cast<size_t>(ranks));
  mpi_check(MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, keys.data(), sizeof(mine), MPI_BYTE,
                          mates.get()),
            "MPI_Allgather");
  parts.others.reserve(keys.size());
  parts.setup.segments.reserve(keys.size());
  for (int r = 0; r < ranks; ++r) {
    attempt([&] {
      if (r == place) {
        parts.setup.segments.push_back(parts.own->data());
      } else if (keys[r].bytes > 0) {
        parts.setup.segments.push_back(
            parts.others.emplace_back(SharedSegment::open(keys[r])).data());
      }
    });
  }
  problem = agree_on_problem(comm, problem);  // and nobody is still to open a segment after this
  if (!problem.empty()) {
    words = "MPI; shared memory cannot be used: " + problem;
    return nullptr;
  }
  parts.own->close_door();
  parts.one_node = nodes == 1;
  parts.setup.segment_bytes = kSegmentBytes;
  parts.setup.rank = place;
  parts.setup.lanes = lanes;
  words = "shared memory";
  if (nodes > 1) {
    int rank = 0;
    mpi_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
    MPI_Comm lane = MPI_COMM_NULL;
    mpi_check(MPI_Comm_split(comm, place < lanes ? place : MPI_UNDEFINED, rank, &lane),
              "MPI_Comm_split");
    if (lane != MPI_COMM_NULL) parts.lane = MpiComm(lane);
    words = concat("shared memory within ", nodes, " nodes, MPI between them by ", lanes,
                   lanes == 1 ? " rank" : " ranks", " of each");
  }
  return std::shared_ptr<NodeWindow>(new NodeWindow(std::move(parts)));
}

NodeWindow::NodeWindow(Parts parts)
    : own_(std::move(parts.own)),
      others_(std::move(parts.others)),
      one_node_(parts.one_node),
      lane_(std::move(parts.lane)),
      blocks_(own_, Window::kTensorOffset),
      window_(std::move(parts.setup)) {}

void NodeWindow::all_reduce(std::byte* data, int64_t elements, WindowType type, WindowOp op) {
  if (one_node_) return window_.all_reduce(data, elements, type, op);
  window_.all_reduce(data, elements, type, op, [&](std::byte* part, int64_t count) {
    sum_between_nodes(part, count, type, op);
  });
}

void NodeWindow::sum_between_nodes(std::byte* part, int64_t elements, WindowType type,
                                   WindowOp op) {
  if (type == WindowType::kBfloat16) return mpi_combine(part, elements, type, op, lane_.get());
  const MPI_Datatype mpi_type = type == WindowType::kFloat    ? MPI_FLOAT
                                : type == WindowType::kDouble ? MPI_DOUBLE
                                                              : MPI_INT64_T;
  mpi_check(MPI_Allreduce(MPI_IN_PLACE, part, static_cast<int>(elements), mpi_type,
                          op == WindowOp::kSum ? MPI_SUM : MPI_MAX, lane_.get()),
            "MPI_Allreduce");
}

}  // namespace largo::comm
