// Tensors whose numbers are no longer numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace largo {

struct NotFinite {
  std::string name;
  int64_t values = 0;  // that are NaN or infinite
  int64_t of = 0;
};

// Those of `tensors` with such values, in their order. Waits for the device, once where there are
// none.
std::vector<NotFinite> not_finite(const std::vector<std::pair<std::string, at::Tensor>>& tensors);

// "fc.weight (3 of 640 values) and fc.bias (all 10 values)": of more than three the first, and how
// many more.
std::string describe(const std::vector<NotFinite>& tensors);

}  // namespace largo
