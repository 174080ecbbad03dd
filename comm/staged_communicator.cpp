#include "comm/staged_communicator.h"

#include <ATen/Functions.h>

#include <utility>

namespace largo::comm {

namespace {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> host, at::Device device)
      : host_(std::move(host)), device_(device) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  bool is_asynchronous() const override { return false; }

  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override {
    return at::zeros({elements}, at::TensorOptions(device_).dtype(dtype));
  }

  // The copy to the host waits for what the current stream was given before; the copy back is
  // ordered before what it is given next.
  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    if (tensor.is_cpu()) return host_->all_reduce(std::move(tensor), op);
    // The host has no sums of two bytes: of bfloat16 they are single ones, rounded once.
    const bool narrow = at::isReducedFloatingType(tensor.scalar_type());
    const at::Tensor staged = narrow ? tensor.to(at::kFloat).cpu() : tensor.cpu();
    host_->all_reduce(staged, op).wait();
    tensor.copy_(staged);
    return Work();
  }

  void broadcast(at::Tensor tensor, int root) override {
    if (tensor.is_cpu()) return host_->broadcast(std::move(tensor), root);
    const at::Tensor staged = tensor.cpu();
    host_->broadcast(staged, root);
    tensor.copy_(staged);
  }

  at::Tensor all_gather(const at::Tensor& tensor) override {
    return host_->all_gather(tensor.cpu()).to(tensor.device());
  }

  void barrier() override { host_->barrier(); }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<StagedCommunicator>(host_->split(color, key), device_);
  }

 private:
  std::unique_ptr<Communicator> host_;
  at::Device device_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> host,
                                                       at::Device device) {
  return std::make_unique<StagedCommunicator>(std::move(host), device);
}

}  // namespace largo::comm
