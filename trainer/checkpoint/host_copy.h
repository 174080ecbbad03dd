// A copy of tensors on the host, in memory that is kept from one copy to the next.
#pragma once

#include <vector>

#include "trainer/checkpoint/weights.h"

namespace largo::checkpoint {

// As many bytes as the tensors have, from the first take() on; page-locked for those of a GPU,
// which are copied at the bus's full speed then.
class HostCopy {
 public:
  // Copies the tensors as they are now; waits for a GPU's.
  void take(const NamedTensors& tensors);

  // Of the last take(): contiguous on the host, under the tensors' names. The next one overwrites
  // them.
  const NamedTensors& tensors() const { return copies_; }

 private:
  NamedTensors copies_;
};

}  // namespace largo::checkpoint
