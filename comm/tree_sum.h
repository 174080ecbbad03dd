// Sums of one rank's leaves in the order of the aligned binary tree, as they come.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace largo::comm {

// One sum is
//     begin();
//     for each leaf:
//       next_leaf();
//       for each place: add(place, the leaf's value) or add_zeros(place);
// after which the tensors given at construction, one for each place, are the sums: comm/base/
// tree_order.h says in which order. A place's value may be added whenever its leaf is under way.
// Beside the totals there is memory for log2(leaves) waiting sums of every place. Values are of the
// totals' sizes and dtype. Not thread-safe.
class TreeSum {
 public:
  TreeSum(std::vector<at::Tensor> totals, int64_t leaves);

  void begin() { leaf_ = -1; }
  void next_leaf();
  void add(size_t place, const at::Tensor& value);
  void add_zeros(size_t place);

  int64_t leaf() const { return leaf_; }  // the one under way; -1 before the first
  bool is_last_leaf() const { return leaf_ + 1 == leaves_; }

 private:
  std::vector<at::Tensor> totals_;
  std::vector<std::vector<at::Tensor>> waiting_;  // [level][place]
  int64_t leaves_;
  int64_t leaf_ = -1;
};

}  // namespace largo::comm
