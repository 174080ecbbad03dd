#include "trainer/data/device_feed.h"

#include <utility>

namespace largo::data {

BatchFeed::BatchFeed(const Dataset& dataset, const Transform& transform, int64_t workers,
                     RequestOf request_of, int64_t first_batch, int64_t end_batch,
                     SkippedSamples* skipped, const at::Device& device, ResidentSets* resident) {
  if (device.is_cpu()) {
    how_.emplace<Loader>(dataset, transform, workers, std::move(request_of), first_batch, end_batch,
                         skipped);
    return;
  }
  const bool skips = skipped != nullptr;
  if (const ResidentSet* set =
          resident ? resident->get(dataset, transform, workers, skips) : nullptr) {
    how_.emplace<ResidentBatches>(*set, transform, std::move(request_of), first_batch, end_batch);
    return;
  }
  how_.emplace<BatchRing>(dataset, transform, workers, std::move(request_of), first_batch,
                          end_batch, skipped, device);
}

Batch BatchFeed::next() {
  if (auto* loader = std::get_if<Loader>(&how_)) return loader->next();
  if (auto* ring = std::get_if<BatchRing>(&how_)) return ring->next();
  return std::get<ResidentBatches>(how_).next();
}

WorkTimes BatchFeed::times() const {
  if (const auto* loader = std::get_if<Loader>(&how_)) return loader->times();
  if (const auto* ring = std::get_if<BatchRing>(&how_)) return ring->times();
  return {};
}

}  // namespace largo::data
