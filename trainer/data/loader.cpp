#include "trainer/data/loader.h"

#include <algorithm>
#include <utility>

namespace largo::data {

RequestOf consecutive_samples(int64_t first, int64_t count, int64_t batch) {
  return [=](int64_t number) {
    BatchRequest request;
    const int64_t end = first + std::min(count, (number + 1) * batch);
    for (int64_t index = first + number * batch; index < end; ++index) {
      request.keys.push_back({0, index});
    }
    return request;
  };
}

Loader::Loader(const Dataset& dataset, const Transform& transform, int64_t workers,
               RequestOf request_of, int64_t first_batch, int64_t end_batch,
               SkippedSamples* skipped)
    // Of those that are kept, the caller has one (a BatchRing two), and one waits.
    : maker_(dataset, transform, skipped, kAhead + 3),
      request_of_(std::move(request_of)),
      slots_(workers > 0 ? kAhead : 1),
      pool_(work(std::max<int64_t>(workers, 1)), workers, static_cast<int64_t>(slots_.size()),
            first_batch, end_batch) {}

ChunkWork Loader::work(int64_t threads) {
  const auto begin = [this, threads](int64_t number, int64_t slot) {
    return maker_.begin(request_of_(number), threads, slots_[slot].draft);
  };
  const auto make = [this](int64_t slot, int64_t chunk, const std::stop_token& stop) {
    maker_.make_chunk(slots_[slot].draft, chunk, stop);
  };
  const auto finish = [this](int64_t slot) {
    slots_[slot].batch = maker_.finish(slots_[slot].draft);
  };
  return {begin, make, finish};
}

Batch Loader::next() {
  Batch batch;
  pool_.next([&](int64_t slot) { batch = std::exchange(slots_[slot].batch, {}); });
  return batch;
}

}  // namespace largo::data
