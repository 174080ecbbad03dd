// Batches in order, made by background threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "trainer/data/batch_maker.h"
#include "trainer/data/chunk_pool.h"

namespace largo::data {

// What batch `number` is made of.
using RequestOf = std::function<BatchRequest(int64_t number)>;

// For evaluation: samples first … first + count − 1 in order, `batch` at a time; batches past the
// end are empty.
RequestOf consecutive_samples(int64_t first, int64_t count, int64_t batch);

// Hands out batches first_batch … end_batch − 1, with the same bits for any number of workers,
// which share the samples of each batch. At most kAhead batches are ready or in the making,
// whatever the number of workers, and the memory of batches is used again when the caller has let
// them go: it takes that of kAhead + 2 batches, or + 1 for each further one that the caller holds,
// and kAhead times a byte per pixel value. With 0 workers next() makes the batch itself.
//
// `dataset`, `skipped`, and whatever request_of refers to, must outlive the loader. request_of is
// called for one batch at a time, in order, from the workers' threads (from next() with 0 workers).
// One thread may call next(). The destructor ends the workers after the sample they are at.
class Loader {
 public:
  static constexpr int64_t kAhead = 4;

  // skipped: see SampleReader.
  Loader(const Dataset& dataset, const Transform& transform, int64_t workers, RequestOf request_of,
         int64_t first_batch, int64_t end_batch, SkippedSamples* skipped = nullptr);

  // What request_of or the data set threw for this batch (for its first bad sample) is rethrown,
  // again with every further call.
  Batch next();

  // Whether next() would hand out a batch without waiting or throwing. With 0 workers: no.
  bool ready() { return pool_.ready(); }

  // Of all batches so far. Any thread may call it.
  WorkTimes times() const { return maker_.times(); }

 private:
  struct Slot {
    BatchDraft draft;
    Batch batch;
  };

  ChunkWork work(int64_t threads);

  BatchMaker maker_;
  RequestOf request_of_;
  std::vector<Slot> slots_;
  ChunkPool pool_;  // the last: its threads use the others
};

}  // namespace largo::data
