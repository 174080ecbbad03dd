// Batches: tensors made from samples.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "trainer/base/sample_key.h"
#include "trainer/data/dataset.h"
#include "trainer/data/options.h"

namespace largo::data {

// Which samples a batch is made of; none is legal.
struct BatchRequest {
  std::vector<SampleKey> keys = {};
  // Mixup: image i becomes mix * image i + (1 - mix) * image i + 1. The image after the last one
  // is that of `after_last`, which must be there where mix < 1 and there are keys.
  double mix = 1;
  std::optional<SampleKey> after_last = {};
};

// n may be 0: on uneven worlds a rank can be without samples.
//
// A raw batch, of Transform::dtype at::kByte, is to be normalized and mixed elsewhere: images holds
// pixels, partner_labels is undefined, and where mix < 1 and there are samples images and labels
// have one more, the sample after the last one.
struct Batch {
  at::Tensor images;            // [n, channels, height, width], channels last in memory
  at::Tensor labels;            // [n] int64
  at::Tensor partner_labels;    // [n] int64, of the images mixed in; undefined where mix is 1
  double mix = 1;               // the targets are mix * labels + (1 - mix) * partner_labels
  std::vector<SampleKey> keys;  // n
};

// What is done to every sample on its way into a batch.
struct Transform {
  std::vector<double> mean;  // per channel, of pixels scaled to 0..1
  std::vector<double> std;
  // Or at::kDouble; at::kByte for raw batches; at::kBFloat16 where it is made on a device.
  at::ScalarType dtype = at::kFloat;
  bool pinned = false;          // the batch is in page-locked memory, from which a GPU copies
  Framing framing;              // size and cut; seed and key are filled in for each sample
  AugmentOptions augment = {};  // pad_crop, flip, cutout; by default nothing
  uint64_t seed = 0;            // of framing and augmentation
};

}  // namespace largo::data
