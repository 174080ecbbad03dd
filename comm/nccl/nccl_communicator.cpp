#include "comm/nccl/nccl_communicator.h"

#include <ATen/Functions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

constexpr double kEndTimeout = 30;

ncclDataType_t nccl_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kHalf:
      return ncclFloat16;
    case at::kLong:
      return ncclInt64;
    default:
      fail(ExitCode::kInternal, "all_reduce of ", at::toString(dtype),
           " by NCCL; known: Float, Double, BFloat16, Half, Long");
  }
}

// What any rank of `host` could not do, in its words and cut at 500 bytes; empty: all could.
std::string first_failure(Communicator& host, const std::string& mine) {
  constexpr int64_t kLength = 512;
  at::Tensor text = at::zeros({kLength}, at::kByte);
  std::memcpy(text.data_ptr(), mine.data(), std::min<size_t>(mine.size(), 500));
  const at::Tensor all = host.all_gather(text);
  for (int r = 0; r < host.size(); ++r) {
    const std::string said(static_cast<const char*>(all.data_ptr()) + r * kLength);
    if (!said.empty()) return said;
  }
  return {};
}

}  // namespace

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> host,
                                   std::unique_ptr<NcclCore> core, at::Device device,
                                   Timeouts timeouts)
    : host_(std::move(host)),
      core_(std::move(core)),
      device_(device),
      timeouts_(timeouts),
      exceptions_at_start_(std::uncaught_exceptions()) {
  LARGO_CHECK(host_->rank() == core_->rank() && host_->size() == core_->size(), "rank ",
              host_->rank(), " of ", host_->size(), " on the host, ", core_->rank(), " of ",
              core_->size(), " on the GPU");
}

NcclCommunicator::~NcclCommunicator() {
  if (std::uncaught_exceptions() > exceptions_at_start_) return;  // the core aborts
  try {
    core_->finish(std::min(timeouts_.one_s, kEndTimeout));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "warning: NCCL did not end in order: %s\n", error.what());
  }
}

at::Tensor NcclCommunicator::allocate(int64_t elements, at::ScalarType dtype) {
  return at::zeros({elements}, at::TensorOptions(device_).dtype(dtype));
}

cudaStream_t NcclCommunicator::current_stream() const {
  return c10::cuda::getCurrentCUDAStream(device_.index()).stream();
}

void NcclCommunicator::check_on_device(const at::Tensor& tensor) const {
  LARGO_CHECK(tensor.device() == device_, "tensor on ", tensor.device().str(),
              "; this rank's NCCL communicator works on ", device_.str(), " and cpu");
  LARGO_CHECK(tensor.is_non_overlapping_and_dense(), "sizes ", tensor.sizes());
}

void NcclCommunicator::keep(NcclCore::Ticket ticket, at::Tensor tensor) {
  const NcclCore::Ticket completed = core_->stream().completed();
  while (!kept_.empty() && kept_.front().first <= completed) kept_.pop_front();
  kept_.emplace_back(ticket, std::move(tensor));
}

Work NcclCommunicator::all_reduce(at::Tensor tensor, ReduceOp op) {
  core_->stream().check();
  if (tensor.is_cpu()) return host_->all_reduce(std::move(tensor), op);
  check_on_device(tensor);
  LARGO_CHECK(op == ReduceOp::kSum, "NCCL is used for plain sums only; others of CPU tensors work");
  const ncclDataType_t type = nccl_type(tensor.scalar_type());
  if (tensor.numel() == 0) return Work();
  // Autograd's threads have devices of their own; a stream of null is the current device's.
  const c10::cuda::CUDAGuard guard(device_);
  const auto ticket = core_->all_reduce(tensor.data_ptr(), static_cast<size_t>(tensor.numel()),
                                        type, current_stream());
  keep(ticket, std::move(tensor));
  return work_of(ticket);
}

Work NcclCommunicator::all_reduce_together(const std::vector<at::Tensor>& tensors, ReduceOp op) {
  core_->stream().check();
  std::vector<NcclCore::Buffer> buffers;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.is_cpu()) return Communicator::all_reduce_together(tensors, op);
    check_on_device(tensor);
    LARGO_CHECK(tensor.scalar_type() == tensors[0].scalar_type(),
                at::toString(tensor.scalar_type()), " together with ",
                at::toString(tensors[0].scalar_type()));
    if (tensor.numel() == 0) continue;
    buffers.push_back({tensor.data_ptr(), static_cast<size_t>(tensor.numel())});
  }
  if (buffers.empty()) return Work();
  const c10::cuda::CUDAGuard guard(device_);
  const auto ticket =
      core_->all_reduce(buffers, nccl_type(tensors[0].scalar_type()), current_stream());
  for (const at::Tensor& tensor : tensors) keep(ticket, tensor);
  return work_of(ticket);
}

Work NcclCommunicator::work_of(NcclCore::Ticket ticket) const {
  return Work([stream = core_->shared_stream(), ticket, device = device_] {
    const c10::cuda::CUDAGuard waiting(device);
    stream->wait(ticket, c10::cuda::getCurrentCUDAStream(device.index()).stream());
  });
}

void NcclCommunicator::broadcast(at::Tensor tensor, int root) {
  core_->stream().check();
  if (tensor.is_cpu()) return host_->broadcast(std::move(tensor), root);
  check_on_device(tensor);
  if (tensor.numel() == 0) return;
  const c10::cuda::CUDAGuard guard(device_);
  const auto ticket =
      core_->broadcast(tensor.data_ptr(), tensor.nbytes(), ncclUint8, root, current_stream());
  core_->wait(ticket, current_stream());
  keep(ticket, std::move(tensor));
}

at::Tensor NcclCommunicator::all_gather(const at::Tensor& tensor) {
  core_->stream().check();
  if (tensor.is_cpu()) return host_->all_gather(tensor);
  const c10::cuda::CUDAGuard guard(device_);
  const at::Tensor mine = tensor.detach().contiguous();
  check_on_device(mine);
  std::vector<int64_t> sizes = mine.sizes().vec();
  sizes.insert(sizes.begin(), size());
  at::Tensor gathered = at::empty(sizes, mine.options());
  if (mine.numel() == 0) return gathered;
  const auto ticket = core_->all_gather(mine.data_ptr(), gathered.data_ptr(), mine.nbytes(),
                                        ncclUint8, current_stream());
  core_->wait(ticket, current_stream());
  keep(ticket, mine);
  keep(ticket, gathered);
  return gathered;
}

void NcclCommunicator::barrier() {
  core_->stream().check();
  host_->barrier();
}

std::unique_ptr<Communicator> NcclCommunicator::split(int color, int key) {
  core_->stream().check();
  std::unique_ptr<Communicator> host = host_->split(color, key);
  std::string failure;
  ncclUniqueId id{};
  try {
    if (host->rank() == 0) id = NcclCore::make_id();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  const auto agree = [&](const std::string& mine) {
    const std::string said = first_failure(*host_, mine);
    if (!said.empty()) {
      throw AgreedError(ExitCode::kUnavailable, concat("set-up of a group of ranks: ", said));
    }
  };
  agree(failure);
  host->broadcast(at::from_blob(id.internal, {NCCL_UNIQUE_ID_BYTES}, at::kByte), 0);
  std::unique_ptr<NcclCore> core;
  try {
    const c10::cuda::CUDAGuard guard(device_);
    core = std::make_unique<NcclCore>(core_->shared_stream(), id, host->rank(), host->size(),
                                      timeouts_.init_s);
  } catch (const std::exception& error) {
    failure = error.what();
  }
  agree(failure);  // reached by all: everyone has the deadline
  return std::make_unique<NcclCommunicator>(std::move(host), std::move(core), device_, timeouts_);
}

void NcclCommunicator::try_out() {
  const c10::cuda::CUDAGuard guard(device_);
  at::Tensor ranks = at::full({1024}, rank() + 1, at::TensorOptions(device_).dtype(at::kFloat));
  all_reduce(ranks, ReduceOp::kSum).wait();
  core_->stream().synchronize(timeouts_.init_s);
  const float sum = static_cast<float>(size()) * static_cast<float>(size() + 1) / 2;
  const at::Tensor got = ranks.cpu();
  if (!got.eq(sum).all().item<bool>()) {
    fail(ExitCode::kUnavailable, "NCCL's sum of 1 to ", size(), " is ", got[0].item<float>(),
         " instead of ", sum);
  }
}

}  // namespace largo::comm
