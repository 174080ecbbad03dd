// A group of one rank.
#pragma once

#include "comm/communicator.h"

namespace largo::comm {

// allocate() gives memory of `device`; tensors may be on any.
class SelfCommunicator final : public Communicator {
 public:
  explicit SelfCommunicator(at::Device device = at::kCPU) : device_(device) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  bool is_asynchronous() const override { return false; }
  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override;
  Work all_reduce(at::Tensor tensor, ReduceOp op) override;
  void broadcast(at::Tensor tensor, int root) override;
  at::Tensor all_gather(const at::Tensor& tensor) override;
  void barrier() override {}
  std::unique_ptr<Communicator> split(int color, int key) override;

 private:
  at::Device device_;
};

}  // namespace largo::comm
