// Data sets that live on the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "trainer/data/batch.h"
#include "trainer/data/dataset.h"
#include "trainer/data/device_transform.h"
#include "trainer/data/loader.h"

namespace largo::data {

// All samples of a data set as pixels, on one device.
class ResidentSet {
 public:
  // Whether the samples always have the same pixels.
  static bool is_possible(const Framing& framing) { return framing.cut != Cut::kRandom; }
  static int64_t bytes(const Dataset& set, const Framing& framing);

  // Reads the set once, by `workers` threads. A sample that cannot be read is an error, Dataset's.
  ResidentSet(const Dataset& set, const Transform& transform, int64_t workers,
              const at::Device& device);

  const at::Tensor& samples() const { return samples_; }  // [N, height, width, channels] uint8
  const at::Tensor& labels() const { return labels_; }    // [N] int64

 private:
  at::Tensor samples_;
  at::Tensor labels_;
};

// The data sets of a run that live on the device: those that fit. One thread may use it.
class ResidentSets {
 public:
  // At most `most_bytes` in all.
  ResidentSets(const at::Device& device, int64_t most_bytes)
      : device_(device), free_bytes_(most_bytes) {}

  // The set as transform.framing asks for it, read when it is asked for first, and kept; `set` must
  // outlive this object. nullptr where it is not to be had: where the cut is random, the set does
  // not fit, or samples that cannot be read are to be skipped (which of them are used then is
  // SampleReader's to say).
  const ResidentSet* get(const Dataset& set, const Transform& transform, int64_t workers,
                         bool skips);

 private:
  struct Entry {
    const Dataset* set;
    Framing framing;
    std::unique_ptr<const ResidentSet> resident;
  };

  at::Device device_;
  int64_t free_bytes_;
  std::vector<Entry> entries_;
};

// The batches of a Loader, made on the device. `set` must outlive it, and so must what request_of
// refers to, which is called in next().
class ResidentBatches {
 public:
  ResidentBatches(const ResidentSet& set, const Transform& transform, RequestOf request_of,
                  int64_t first_batch, int64_t end_batch);

  Batch next();

 private:
  const ResidentSet& set_;
  DeviceTransform transform_;
  RequestOf request_of_;
  int64_t next_;
  int64_t end_;
};

}  // namespace largo::data
