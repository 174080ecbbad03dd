#include "comm/tree_sum.h"

#include <ATen/Functions.h>

#include <utility>

#include "comm/base/error.h"
#include "comm/base/tree_order.h"

namespace largo::comm {

TreeSum::TreeSum(std::vector<at::Tensor> totals, int64_t leaves)
    : totals_(std::move(totals)),
      waiting_(static_cast<size_t>(tree_levels(leaves))),
      leaves_(leaves) {
  for (std::vector<at::Tensor>& of_level : waiting_) {
    of_level.reserve(totals_.size());
    for (const at::Tensor& total : totals_) {
      of_level.push_back(at::empty_strided(total.sizes(), total.strides(), total.options()));
    }
  }
}

void TreeSum::next_leaf() {
  LARGO_CHECK(!is_last_leaf(), "more than ", leaves_, " leaves");
  ++leaf_;
}

void TreeSum::add(size_t place, const at::Tensor& value) {
  const TreeStep step = tree_step(leaf_, leaves_);
  const bool adds_to_total = step.completes_root && !step.is_first_root;
  at::Tensor to =
      step.completes_root ? totals_[place] : waiting_[static_cast<size_t>(step.merges)][place];
  at::Tensor sum = value;
  for (int level = 0; level < step.merges; ++level) {
    const at::Tensor& left = waiting_[static_cast<size_t>(level)][place];
    const bool goes_straight = level + 1 == step.merges && !adds_to_total;
    sum = goes_straight ? at::add_out(to, left, sum) : left.add_(sum);
  }
  if (adds_to_total) {
    to.add_(sum);
  } else if (step.merges == 0) {
    to.copy_(value);
  }
}

void TreeSum::add_zeros(size_t place) { add(place, at::zeros_like(totals_[place])); }

}  // namespace largo::comm
