// What ends a run whose numbers are no longer numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace largo {

// Both throw AgreedError{kNumerical}: call them with what is the same on every rank.

// The numbers of a record, after `completed` steps.
void check_finite(int64_t completed, double loss, double grad_norm, double lr);

// What a checkpoint is to hold; names the first tensor that is not finite. Waits for the device.
void check_finite(int64_t completed,
                  const std::vector<std::pair<std::string, at::Tensor>>& tensors);

}  // namespace largo
