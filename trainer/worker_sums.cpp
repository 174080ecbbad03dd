#include "trainer/worker_sums.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "comm/base/error.h"

namespace largo {

at::Tensor sum_micro_batches(const std::vector<at::Tensor>& values, bool by_worker) {
  LARGO_CHECK(!values.empty(), "no micro-batches");
  if (by_worker) return at::stack(values);
  at::Tensor sum = values.front();
  for (size_t i = 1; i < values.size(); ++i) sum = sum + values[i];
  return sum;
}

at::Tensor sum_over_ranks(at::Tensor sums, bool by_worker, comm::Communicator& world) {
  if (!by_worker) {
    world.all_reduce(sums).wait();
    return sums;
  }
  // [ranks, quantities, workers of a rank] in the order of all workers.
  const at::Tensor all = world.all_gather(sums).transpose(0, 1);
  // Contiguous at every world size: the order of ATen's sum follows the strides.
  return all.reshape({sums.size(0), -1}).contiguous().sum(1);
}

}  // namespace largo
