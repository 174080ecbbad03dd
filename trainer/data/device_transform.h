// What is left to do to a raw batch, done where it lies: on a GPU, or on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "trainer/base/sample_key.h"
#include "trainer/data/batch.h"
#include "trainer/data/dataset.h"
#include "trainer/data/options.h"

namespace largo::data {

// Augments, normalizes and mixes on one device, by ATen operations of whole batches; the host draws
// the random numbers, keyed by sample as in SampleReader. Pixels come out as the host's, bit for
// bit; numbers as the host's but for rounding (float64 1e-14, float32 1e-6 of the largest;
// bfloat16 is float32 rounded once).
//
// The host never waits for the device, but in the constructor: what it sends are a few numbers per
// sample, in page-locked memory that LibTorch's allocator gives away only when the copy is
// complete. All is queued on the current stream, and all members can be called from any thread.
class DeviceTransform {
 public:
  // transform.dtype: at::kFloat, at::kDouble or at::kBFloat16.
  DeviceTransform(const Transform& transform, int64_t channels, const at::Device& device);

  // Images and labels of a raw batch of samples[key.index], placed and cut out as each key has it;
  // keys and mix are the caller's. samples: uint8 [N, height, width, channels], contiguous, at
  // their final size; labels: int64 [N]; both on the device.
  Batch augment(const at::Tensor& samples, const at::Tensor& labels,
                const std::vector<SampleKey>& keys) const;

  // Of a raw batch that lies on the device. The result shares its labels.
  Batch finish(Batch raw) const;

 private:
  at::Tensor empty_images(int64_t count, const at::TensorOptions& options) const;
  at::Tensor draw(const std::vector<SampleKey>& keys) const;
  at::Tensor place(const at::Tensor& samples, const at::Tensor& drawn) const;
  at::Tensor cut_out(const at::Tensor& images, const at::Tensor& drawn) const;
  at::Tensor to_numbers(const at::Tensor& pixels) const;

  SampleShape shape_;
  AugmentOptions augment_;
  uint64_t seed_;
  at::ScalarType dtype_;
  at::Device device_;
  at::Tensor scale_, bias_;    // [channels], float64 for float64, else float32
  at::Tensor fill_;            // [channels] uint8: what cutout leaves
  at::Tensor rows_, columns_;  // 0 … height − 1, 0 … width − 1
};

}  // namespace largo::data
