#pragma once

#include "trainer/nn/catalog.h"

namespace largo::nn {

// VGG-16 with norms (Simonyan & Zisserman 2014, configuration D), named and numbered as
// torchvision's vgg16_bn, whatever the kind of norm: features.0 (convolution with bias), features.1
// (norm), ReLU, …, five times 2x2 max pooling, average pooling to 7x7, classifier.0, .3 and .6 of
// `hidden`, `hidden` and classes units with ReLU and dropout 0.5 (keyed by sample) between.
// Initial values as torchvision: convolutions He normal (fan-out), linear layers N(0, 0.01^2),
// biases 0, norms 1 and 0. Images of at least 32x32.
ModelEntry vgg16_entry(int64_t hidden = 4096);

}  // namespace largo::nn
