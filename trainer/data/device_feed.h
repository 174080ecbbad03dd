// Batches where the model is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <variant>

#include "trainer/data/batch_ring.h"
#include "trainer/data/loader.h"
#include "trainer/data/resident_set.h"

namespace largo::data {

// Hands out batches first_batch … end_batch − 1 on `device`, in order. On the CPU it is a Loader.
// Elsewhere the batches are those of a Loader too, to DeviceTransform's accuracy: made from a set
// that lives on the device, where `resident` has it, else by a BatchRing. `keys` and `mix` are
// on the host.
//
// The arguments are Loader's. What they refer to, `resident` included, must outlive the feed. One
// thread may call next(), with the same current stream each time.
class BatchFeed {
 public:
  BatchFeed(const Dataset& dataset, const Transform& transform, int64_t workers,
            RequestOf request_of, int64_t first_batch, int64_t end_batch, SkippedSamples* skipped,
            const at::Device& device, ResidentSets* resident = nullptr);

  // Errors are Loader's, and come with the same batch; of a set that lives on the device those of
  // reading it come from the constructor. The host does not wait for the device, but see BatchRing.
  Batch next();

  // Of the workers' threads. All zero where the set lives on the device. Any thread may call it.
  WorkTimes times() const;

 private:
  std::variant<std::monostate, Loader, BatchRing, ResidentBatches> how_;
};

}  // namespace largo::data
