#pragma once

#include "trainer/nn/catalog.h"

namespace largo::nn {

// ResNets (He et al. 2015): a stem, three or four stages of residual blocks, each stage with twice
// the channels and half the side of the one before, global average pooling, fc. Parameters and
// buffers are named and ordered as torchvision's.
//
// Stem: `cifar` is a 3x3 convolution with stride 1; `imagenet` a 7x7 one with stride 2, and 3x3 max
// pooling with stride 2.
// Initial values: convolutions He normal (fan-out), norms 1 and 0, as torchvision; fc N(0, 0.01^2)
// with bias 0, and with zero_init_residual every block's branch 0, as Goyal et al. 2017,
// section 5.1.

// The CIFAR form (He, section 4.2): depth 6n + 2, three stages of n basic blocks from 16 channels,
// shortcuts without parameters. By default with the cifar stem.
ModelEntry cifar_resnet_entry(int64_t depth);

// torchvision's: depth 18, 34 (basic blocks), 50 or 101 (bottlenecks with the stride in their 3x3
// convolution), four stages from 64 channels, projections. By default with the imagenet stem.
ModelEntry resnet_entry(int64_t depth);

}  // namespace largo::nn
