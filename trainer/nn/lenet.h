#pragma once

#include "trainer/nn/catalog.h"

namespace largo::nn {

// Caffe's LeNet: conv1 (20 of 5x5), max pool 2, conv2 (50 of 5x5), max pool 2, fc1 (500), ReLU,
// fc2; no ReLU after the convolutions. Weights as Caffe's xavier filler draws them, uniform within
// sqrt(3 / fan-in), biases 0. (caffe/examples/mnist/lenet_train_test.prototxt, filler.hpp)
// Images of at least 16x16.
ModelEntry lenet_entry();

}  // namespace largo::nn
