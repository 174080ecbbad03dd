// Batches on their way to a device: copied while the one before is worked on.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>

#include "trainer/data/device_streams.h"
#include "trainer/data/device_transform.h"
#include "trainer/data/loader.h"

namespace largo::data {

// The batches of a Loader, on a device. Pixels are copied as they are, on a stream of their own,
// and become numbers on the stream that is current in next(), which should be the same in all
// calls.
//
// There are kSlots places on the device. Who waits for what:
// - the compute lane, before it reads a slot, for the copy into it (event `copied`);
// - the copy lane, before it writes into a slot, for the compute lane to have read what was in
//   it, and for whoever had its memory before (event `consumed`);
// - the host, before it lets go of the page-locked memory that a copy reads, for that copy
//   (`copied`): workers refill it at once. It comes to that only when the device is kSlots batches
//   behind. Otherwise the host waits for nothing but the loader's workers.
// Slots are allocated once, on the compute lane, and grow when a batch is larger. What next()
// returns is in other memory, of the compute lane alone.
class BatchRing {
 public:
  static constexpr int kSlots = 2;
  static constexpr int kEvents = 2 * kSlots;
  static constexpr int copied(int slot) { return 2 * slot; }
  static constexpr int consumed(int slot) { return 2 * slot + 1; }

  // As Loader's. streams: with kEvents events; nullptr for the device's.
  BatchRing(const Dataset& dataset, const Transform& transform, int64_t workers,
            RequestOf request_of, int64_t first_batch, int64_t end_batch, SkippedSamples* skipped,
            const at::Device& device, std::unique_ptr<DeviceStreams> streams = nullptr);

  // Throws as Loader::next() does, with the same batch.
  Batch next();

  WorkTimes times() const { return loader_.times(); }

 private:
  struct Slot {
    at::Tensor pixels;  // [capacity] uint8, on the device
    at::Tensor labels;  // [capacity] int64, on the device
    Batch raw;          // on the host: what is copied, or was
  };

  void upload();
  void reserve(int number, int64_t pixels, int64_t labels);
  Batch on_device(Slot& slot) const;
  int slot_of(int64_t batch) const { return static_cast<int>(batch % kSlots); }

  at::Device device_;
  DeviceTransform transform_;
  std::unique_ptr<DeviceStreams> streams_;
  std::array<Slot, kSlots> slots_;
  int64_t uploaded_;  // the next batch to be copied
  int64_t handed_;    // the next batch that next() returns
  Loader loader_;     // the last: its workers end before the memory they fill is let go of
};

}  // namespace largo::data
