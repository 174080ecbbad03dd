// From sample keys to the tensors of a batch, in chunks that several threads can share.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <stop_token>
#include <variant>
#include <vector>

#include "trainer/data/batch.h"
#include "trainer/data/dataset.h"
#include "trainer/data/normalize.h"
#include "trainer/data/sample_reader.h"
#include "trainer/data/skipped_samples.h"
#include "trainer/data/tensor_pool.h"

namespace largo::data {

// A batch in the making. Used again for the next batch, it keeps its memory for pixels.
struct BatchDraft {
  BatchRequest request;
  int64_t chunk_samples = 1;
  std::vector<int64_t> labels;
  std::vector<uint8_t> pixels;  // of one image after the other, as Image has them; raw: unused
  at::Tensor images;            // of all images; with mixup after_last's is the last one
  void* numbers = nullptr;      // what `images` holds
};

// What threads spent on which part of the work, in seconds, summed over them.
struct WorkTimes {
  double read_s = 0;  // Dataset::read
  double resize_s = 0;
  double augment_s = 0;    // crop, flip, cutout
  double normalize_s = 0;  // to floating point, with mixup

  double busy_s() const { return read_s + resize_s + augment_s + normalize_s; }
};

// Makes batches of a data set. `dataset` and `skipped` must outlive it. All members may be called
// from several threads at once, for different drafts or different chunks of one.
//
// With skipped == nullptr a sample that cannot be read is an error. Otherwise see SampleReader.
class BatchMaker {
 public:
  // Memory of up to `kept_batches` batches is used again, once nobody has a reference to one.
  BatchMaker(const Dataset& dataset, const Transform& transform, SkippedSamples* skipped = nullptr,
             size_t kept_batches = 0);

  // Begins a batch, and returns the number of its chunks (0 for an empty batch), each of at most
  // 16 samples, or less where that gives every one of `threads` something to do.
  int64_t begin(BatchRequest request, int64_t threads, BatchDraft& draft) const;

  // Reads the samples of a chunk and, unless the batch is raw, normalizes them. Returns early, with
  // the work undone, once `stop` is requested.
  void make_chunk(BatchDraft& draft, int64_t chunk, const std::stop_token& stop) const;

  // After all chunks: mixes, unless the batch is raw.
  Batch finish(BatchDraft& draft) const;

  // All of the above.
  Batch make(BatchRequest request) const;

  WorkTimes times() const;

 private:
  using Table = std::variant<PixelTable<float>, PixelTable<double>>;

  static Table make_table(const Transform& transform);
  bool is_raw() const { return dtype_ == at::kByte; }
  at::Tensor labels(const int64_t* values, int64_t count) const;

  SampleReader reader_;
  at::ScalarType dtype_;
  Table table_;  // raw batches do not use it
  mutable TensorPool pool_;
  mutable TensorPool label_pool_;
  mutable std::atomic<int64_t> read_ns_ = 0, resize_ns_ = 0, augment_ns_ = 0, normalize_ns_ = 0;
};

}  // namespace largo::data
