// Whether tensors that should be equal on all ranks are.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace largo::comm {

// A collective: compares the bits of every tensor over the ranks by a hash, which is made on the
// tensors' device; the host waits for it. Throws AgreedError{kInternal} on every rank, naming the
// first tensor that differs and the ranks that stand alone, with `when` ("after step 10").
void check_same_bits(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                     Communicator& world, const std::string& when);

}  // namespace largo::comm
