// What ends a run whose numbers are no longer numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace largo {

// What a checkpoint is to hold, after `completed` steps: throws AgreedError{kNumerical} that names
// the first tensor that is not finite. They are the same on every rank. Waits for the device.
void check_finite(int64_t completed,
                  const std::vector<std::pair<std::string, at::Tensor>>& tensors);

}  // namespace largo
