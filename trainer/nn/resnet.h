#pragma once

#include "trainer/nn/catalog.h"

namespace largo::nn {

// The CIFAR form of ResNets (He et al. 2015, section 4.2): depth 6n + 2, three stages of n basic
// blocks with 16, 32 and 64 channels, shortcuts without parameters (option A: every second pixel,
// zero channels added on both sides), global average pooling, fc. Convolutions He normal (fan-out),
// fc N(0, 0.01^2), biases 0, norms 1; with zero_init_residual the last norm of each block 0.
ModelEntry cifar_resnet_entry(int64_t depth);

}  // namespace largo::nn
