#include "comm/communicator.h"

namespace largo::comm {

Work Communicator::all_reduce_together(const std::vector<at::Tensor>& tensors, ReduceOp op) {
  std::vector<Work> works;
  works.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) works.push_back(all_reduce(tensor, op));
  return Work([works = std::move(works)] {
    for (const Work& work : works) work.wait();
  });
}

}  // namespace largo::comm
