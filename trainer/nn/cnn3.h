#pragma once

#include "trainer/nn/catalog.h"

namespace largo::nn {

// Caffe's cifar10_full: conv1 (32 of 5x5), max pooling, ReLU, norm1; conv2 (32), ReLU, average
// pooling, norm2; conv3 (64), ReLU, average pooling; fc (Caffe's ip1). Convolutions keep the size;
// pooling is 3x3 with stride 2 and, as Caffe's, rounds sizes up: windows end with the image and an
// average is over what is inside. Weights N(0, std^2) with std 0.0001 for conv1 and 0.01 for the
// others, biases 0. (caffe/examples/cifar10/cifar10_full_train_test.prototxt; its lr_mult and
// decay_mult are for the optimizer to give.) Images of at least 8x8.
//
// norm1 and norm2 are local response normalization within a channel,
//   y = x / (1 + 5e-5 * mean of x^2 over 3x3)^0.75,
// the mean always over nine values, zeros outside of the image (caffe/src/caffe/layers/
// lrn_layer.cpp, WITHIN_CHANNEL). A given model.norm replaces the two by bn1 and bn2 of that kind;
// weight standardization is then for conv1 and conv2.
ModelEntry cnn3_entry();

}  // namespace largo::nn
