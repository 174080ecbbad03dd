#include "comm/host_communicator.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <climits>
#include <optional>
#include <utility>
#include <vector>

#include "comm/work_queue.h"

namespace largo::comm {

namespace {

constexpr int64_t kMaxCount = 1 << 30;  // MPI counts are int

MPI_Datatype mpi_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    default:
      fail(ExitCode::kInternal, "all_reduce of ", at::toString(dtype),
           " on the host; known: Float, Double, Long");
  }
}

void check_dense(const at::Tensor& tensor) {
  LARGO_CHECK(tensor.is_cpu(), "tensor on ", tensor.device().str());
  LARGO_CHECK(tensor.is_non_overlapping_and_dense(), "sizes ", tensor.sizes());
}

char* bytes_of(const at::Tensor& tensor) { return static_cast<char*>(tensor.data_ptr()); }

class HostCommunicator final : public Communicator {
 public:
  HostCommunicator(MpiComm comm, bool asynchronous)
      : comm_(std::move(comm)), rank_(comm_.rank()), size_(comm_.size()) {
    if (asynchronous) queue_.emplace();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  bool is_asynchronous() const override { return queue_.has_value(); }

  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override {
    return at::zeros({elements}, dtype);
  }

  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    check_dense(tensor);
    const MPI_Datatype type = mpi_type(tensor.scalar_type());
    return run([comm = comm_.get(), tensor, type, op] {
      const int64_t element_bytes = tensor.element_size();
      for (int64_t done = 0; done < tensor.numel(); done += kMaxCount) {
        const auto count = static_cast<int>(std::min(kMaxCount, tensor.numel() - done));
        mpi_check(MPI_Allreduce(MPI_IN_PLACE, bytes_of(tensor) + done * element_bytes, count, type,
                                op == ReduceOp::kSum ? MPI_SUM : MPI_MAX, comm),
                  "MPI_Allreduce");
      }
    });
  }

  void broadcast(at::Tensor tensor, int root) override {
    check_dense(tensor);
    run([&] {
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
    run([&] {
      mpi_check(MPI_Allgather(mine.data_ptr(), bytes, MPI_BYTE, gathered.data_ptr(), bytes,
                              MPI_BYTE, comm_.get()),
                "MPI_Allgather");
    }).wait();
    return gathered;
  }

  void barrier() override {
    run([this] { mpi_check(MPI_Barrier(comm_.get()), "MPI_Barrier"); }).wait();
  }

  std::unique_ptr<Communicator> split(int color, int key) override {
    MPI_Comm part = MPI_COMM_NULL;
    run([&] {
      mpi_check(MPI_Comm_split(comm_.get(), color, key, &part), "MPI_Comm_split");
    }).wait();
    return std::make_unique<HostCommunicator>(MpiComm(part), queue_.has_value());
  }

 private:
  Work run(std::function<void()> job) {
    if (queue_) return queue_->submit(std::move(job));
    job();
    return Work();
  }

  MpiComm comm_;
  int rank_;
  int size_;
  std::optional<WorkQueue> queue_;  // destroyed before comm_, which its jobs use
};

}  // namespace

std::unique_ptr<Communicator> make_host_communicator(MpiComm comm, bool asynchronous) {
  return std::make_unique<HostCommunicator>(std::move(comm), asynchronous);
}

}  // namespace largo::comm
