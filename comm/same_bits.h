// Whether tensors that should be equal on all ranks are.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace largo::comm {

// The bits of a tensor's elements, as a number: whichever single bit changes, the number does. Made
// where the tensor lives, in one pass over its memory on the CPU; a scalar of int64 on its device.
at::Tensor hash_of_bits(const at::Tensor& tensor);

// A collective: compares the bits of every tensor over the ranks by a hash; eight bytes per tensor
// and rank travel, and the host waits for them. Throws AgreedError{kInternal} on every rank, naming
// the first tensor that differs, the ranks that stand alone and their hosts, with `when` ("after
// step 10"). Where no value has a majority, all that differ are named.
void check_same_bits(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                     Communicator& world, const std::string& when);

}  // namespace largo::comm
