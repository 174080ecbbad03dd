#pragma once

#include "trainer/nn/catalog.h"

namespace largo::nn {

// Two hidden layers of 256 units with ReLU: fc1, fc2, fc3. Hidden weights He normal (fan-in), the
// last N(0, 0.01^2), biases 0.
ModelEntry mlp_entry();

}  // namespace largo::nn
