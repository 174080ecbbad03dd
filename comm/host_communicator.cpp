#include "comm/host_communicator.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <climits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/flight_record.h"
#include "comm/mpi_combine.h"
#include "comm/node_window.h"
#include "comm/work_queue.h"

namespace largo::comm {

namespace {

constexpr int64_t kMaxCount = 1 << 30;  // MPI counts are int

struct NumberType {
  WindowType window;
  MPI_Datatype mpi;  // MPI has no bfloat16
};

NumberType number_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return {WindowType::kFloat, MPI_FLOAT};
    case at::kDouble:
      return {WindowType::kDouble, MPI_DOUBLE};
    case at::kLong:
      return {WindowType::kInt64, MPI_INT64_T};
    case at::kBFloat16:
      return {WindowType::kBfloat16, MPI_DATATYPE_NULL};
    default:
      fail(ExitCode::kInternal, "all_reduce of ", at::toString(dtype),
           " on the host; known: Float, Double, Long, BFloat16");
  }
}

WindowOp window_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return WindowOp::kSum;
    case ReduceOp::kMax:
      return WindowOp::kMax;
    case ReduceOp::kTreeSum:
      return WindowOp::kTreeSum;
  }
  fail(ExitCode::kInternal, "reduction ", static_cast<int>(op));
}

void check_dense(const at::Tensor& tensor) {
  LARGO_CHECK(tensor.is_cpu(), "tensor on ", tensor.device().str());
  LARGO_CHECK(tensor.is_non_overlapping_and_dense(), "sizes ", tensor.sizes());
}

char* bytes_of(const at::Tensor& tensor) { return static_cast<char*>(tensor.data_ptr()); }

std::byte* memory_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.data_ptr());
}

void mpi_all_reduce(const at::Tensor& tensor, MPI_Datatype type, ReduceOp op, MPI_Comm comm) {
  const int64_t element_bytes = tensor.element_size();
  for (int64_t done = 0; done < tensor.numel(); done += kMaxCount) {
    const auto count = static_cast<int>(std::min(kMaxCount, tensor.numel() - done));
    mpi_check(MPI_Allreduce(MPI_IN_PLACE, bytes_of(tensor) + done * element_bytes, count, type,
                            op == ReduceOp::kSum ? MPI_SUM : MPI_MAX, comm),
              "MPI_Allreduce");
  }
}

// The ranks of `comm`, as ranks of the job.
std::vector<int> members_of(const MpiComm& comm) {
  MPI_Group members = MPI_GROUP_NULL;
  MPI_Group everyone = MPI_GROUP_NULL;
  mpi_check(MPI_Comm_group(comm.get(), &members), "MPI_Comm_group");
  mpi_check(MPI_Comm_group(MPI_COMM_WORLD, &everyone), "MPI_Comm_group");
  std::vector<int> numbers(static_cast<size_t>(comm.size()));
  std::iota(numbers.begin(), numbers.end(), 0);
  std::vector<int> ranks(numbers.size());
  mpi_check(MPI_Group_translate_ranks(members, comm.size(), numbers.data(), everyone, ranks.data()),
            "MPI_Group_translate_ranks");
  MPI_Group_free(&members);
  MPI_Group_free(&everyone);
  return ranks;
}

std::shared_ptr<FlightRecord::Line> make_line(const MpiComm& comm,
                                              std::shared_ptr<FlightRecord> record) {
  if (!record) return nullptr;
  std::vector<int> members = members_of(comm);
  const std::string name = concat("a communicator of ", members.size(), " ranks");
  return std::make_shared<FlightRecord::Line>(std::move(record), name, std::move(members));
}

class HostCommunicator final : public Communicator {
 public:
  HostCommunicator(MpiComm comm, const HostSetup& setup)
      : comm_(std::move(comm)),
        rank_(comm_.rank()),
        size_(comm_.size()),
        setup_(setup),
        line_(make_line(comm_, setup_.record)) {
    if (setup_.shared_memory) window_ = NodeWindow::make(comm_.get(), setup_.node, transport_);
    if (setup_.asynchronous) queue_.emplace();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  bool is_asynchronous() const override { return queue_.has_value(); }

  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override {
    const auto bytes = elements * static_cast<int64_t>(at::elementSize(dtype));
    const auto block = window_ && bytes > 0 ? window_->allocate(bytes) : nullptr;
    if (!block) return at::zeros({elements}, dtype);
    return at::from_blob(
        block.get(), {elements}, [block](void*) {}, dtype);
  }

  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    check_dense(tensor);
    const NumberType type = number_type(tensor.scalar_type());
    const bool by_tree = op == ReduceOp::kTreeSum;
    LARGO_CHECK(!by_tree || type.mpi != MPI_DATATYPE_NULL, "a tree sum of bfloat16");
    if (window_ && (!by_tree || window_->is_one_node())) {
      return run(CallKind::kAllReduce, tensor.nbytes(), [window = window_, tensor, type, op] {
        window->all_reduce(memory_of(tensor), tensor.numel(), type.window, window_op(op));
      });
    }
    if (by_tree) {
      return run(CallKind::kAllReduce, tensor.nbytes(), [comm = comm_.get(), tensor, type] {
        mpi_combine(memory_of(tensor), tensor.numel(), type.window, WindowOp::kTreeSum, comm);
      });
    }
    return run(CallKind::kAllReduce, tensor.nbytes(), [comm = comm_.get(), tensor, type, op] {
      if (type.mpi != MPI_DATATYPE_NULL) return mpi_all_reduce(tensor, type.mpi, op, comm);
      const at::NoGradGuard no_grad;
      const at::Tensor wide = tensor.to(at::kFloat);
      mpi_all_reduce(wide, MPI_FLOAT, op, comm);
      tensor.copy_(wide);
    });
  }

  void broadcast(at::Tensor tensor, int root) override {
    check_dense(tensor);
    run(CallKind::kBroadcast, tensor.nbytes(), [&] {
      const int64_t bytes = static_cast<int64_t>(tensor.nbytes());
      for (int64_t done = 0; done < bytes; done += kMaxCount) {
        const auto count = static_cast<int>(std::min(kMaxCount, bytes - done));
        mpi_check(MPI_Bcast(bytes_of(tensor) + done, count, MPI_BYTE, root, comm_.get()),
                  "MPI_Bcast");
      }
    }).wait();
  }

  at::Tensor all_gather(const at::Tensor& tensor) override {
    const at::Tensor mine = tensor.detach().contiguous();
    check_dense(mine);
    LARGO_CHECK(mine.nbytes() <= INT_MAX, "all_gather of ", mine.nbytes(), " bytes per rank");
    std::vector<int64_t> sizes = mine.sizes().vec();
    sizes.insert(sizes.begin(), size_);
    at::Tensor gathered = at::empty(sizes, mine.options());
    const int bytes = static_cast<int>(mine.nbytes());
    run(CallKind::kAllGather, mine.nbytes(), [&] {
      if (window_ && window_->gathers(bytes)) {
        return window_->all_gather(memory_of(mine), memory_of(gathered), bytes);
      }
      mpi_check(MPI_Allgather(mine.data_ptr(), bytes, MPI_BYTE, gathered.data_ptr(), bytes,
                              MPI_BYTE, comm_.get()),
                "MPI_Allgather");
    }).wait();
    return gathered;
  }

  void barrier() override {
    run(CallKind::kBarrier, 0, [this] {
      if (window_ && window_->gathers(0)) return window_->barrier();
      mpi_check(MPI_Barrier(comm_.get()), "MPI_Barrier");
    }).wait();
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    MPI_Comm part = MPI_COMM_NULL;
    run(CallKind::kSplit, 0, [&] {
      mpi_check(MPI_Comm_split(comm_.get(), color, key, &part), "MPI_Comm_split");
    }).wait();
    return std::make_unique<HostCommunicator>(MpiComm(part), setup_);
  }

  const std::string& transport() const { return transport_; }

 private:
  // The job holds the line: a communication thread may be left behind in it.
  Work run(CallKind kind, uint64_t bytes, std::function<void()> job) {
    if (queue_) {
      return queue_->submit(
          [line = line_, kind, bytes, name = CallName::current(), job = std::move(job)] {
            const FlightRecord::Call call(line.get(), kind, bytes, name);
            job();
          });
    }
    const FlightRecord::Call call(line_.get(), kind, bytes, CallName::current());
    job();
    return Work();
  }

  MpiComm comm_;
  int rank_;
  int size_;
  HostSetup setup_;
  std::shared_ptr<FlightRecord::Line> line_;
  std::string transport_ = "MPI";
  std::shared_ptr<NodeWindow> window_;  // null: MPI does it all
  std::optional<WorkQueue> queue_;      // destroyed before comm_, which its jobs use
};

}  // namespace

std::unique_ptr<Communicator> make_host_communicator(MpiComm comm, const HostSetup& setup) {
  return std::make_unique<HostCommunicator>(std::move(comm), setup);
}

std::string transport_of(const Communicator& host) {
  const auto* made_here = dynamic_cast<const HostCommunicator*>(&host);
  LARGO_CHECK(made_here != nullptr, "a communicator of another kind");
  return made_here->transport();
}

}  // namespace largo::comm
