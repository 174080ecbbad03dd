// Batches: tensors made from samples.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <stop_token>
#include <variant>
#include <vector>

#include "trainer/base/sample_key.h"
#include "trainer/data/augment.h"
#include "trainer/data/dataset.h"
#include "trainer/data/options.h"

namespace largo::data {

// n may be 0: on uneven worlds a rank can be without samples.
struct Batch {
  at::Tensor images;            // [n, channels, height, width], channels last in memory
  at::Tensor labels;            // [n] int64
  std::vector<SampleKey> keys;  // n
};

// What is done to every sample on its way into a batch.
struct Transform {
  std::vector<double> mean;  // per channel, of pixels scaled to 0..1
  std::vector<double> std;
  at::ScalarType dtype = at::kFloat;  // or at::kDouble
  AugmentOptions augment = {};        // by default nothing, as evaluation wants it
  uint64_t seed = 0;                  // of the augmentation
};

// Makes batches in CPU memory. The numbers of a sample follow from its key and the transform, and
// not from the batch it is in. make() may be called from several threads at once; it uses no ATen
// operator that would start a thread pool. `dataset` must outlive this object.
class BatchMaker {
 public:
  BatchMaker(const Dataset& dataset, const Transform& transform);

  // Errors of the data set pass through. Once `stop` is requested the rest is left unwritten.
  Batch make(std::vector<SampleKey> keys, const std::stop_token& stop = {}) const;

 private:
  const Dataset& dataset_;
  SampleShape shape_;
  AugmentOptions augment_;
  uint64_t seed_;
  at::ScalarType dtype_;
  std::variant<PixelTable<float>, PixelTable<double>> table_;
};

}  // namespace largo::data
