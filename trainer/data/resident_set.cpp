#include "trainer/data/resident_set.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>
#include <utility>

#include "comm/base/error.h"

namespace largo::data {

namespace {

constexpr int64_t kCopyBytes = 8 << 20;

Transform pixels_alone(Transform transform, const at::Device& device) {
  transform.dtype = at::kByte;
  transform.pinned = !device.is_cpu();
  transform.augment = {};
  return transform;
}

bool same_pixels(const Framing& a, const Framing& b) {
  return a.cut == b.cut && a.height == b.height && a.width == b.width && a.share == b.share;
}

}  // namespace

int64_t ResidentSet::bytes(const Dataset& set, const Framing& framing) {
  const int64_t sample = set.shape().channels * framing.height * framing.width;
  return set.size() * (sample + static_cast<int64_t>(sizeof(int64_t)));
}

ResidentSet::ResidentSet(const Dataset& set, const Transform& transform, int64_t workers,
                         const at::Device& device) {
  const auto [cut, height, width, share, seed, key] = transform.framing;
  LARGO_CHECK(is_possible(transform.framing), "samples that are cut at random cannot stay");
  const int64_t channels = set.shape().channels, count = set.size();
  samples_ =
      at::empty({count, height, width, channels}, at::TensorOptions(at::kByte).device(device));
  labels_ = at::empty({count}, at::TensorOptions(at::kLong).device(device));
  const int64_t batch = std::max<int64_t>(1, kCopyBytes / (channels * height * width));
  const int64_t batches = (count + batch - 1) / batch;
  Loader loader(set, pixels_alone(transform, device), workers, consecutive_samples(0, count, batch),
                0, batches);
  for (int64_t b = 0; b < batches; ++b) {
    const Batch part = loader.next();
    // Blocking copies: the loader may use the memory again.
    samples_.narrow(0, b * batch, part.images.size(0)).copy_(part.images.permute({0, 2, 3, 1}));
    labels_.narrow(0, b * batch, part.labels.size(0)).copy_(part.labels);
  }
}

const ResidentSet* ResidentSets::get(const Dataset& set, const Transform& transform,
                                     int64_t workers, bool skips) {
  for (const Entry& entry : entries_) {
    if (entry.set == &set && same_pixels(entry.framing, transform.framing)) {
      return entry.resident.get();
    }
  }
  if (skips || !ResidentSet::is_possible(transform.framing)) return nullptr;
  const int64_t bytes = ResidentSet::bytes(set, transform.framing);
  if (bytes > free_bytes_) return nullptr;
  entries_.push_back(
      {&set, transform.framing, std::make_unique<ResidentSet>(set, transform, workers, device_)});
  free_bytes_ -= bytes;
  return entries_.back().resident.get();
}

ResidentBatches::ResidentBatches(const ResidentSet& set, const Transform& transform,
                                 RequestOf request_of, int64_t first_batch, int64_t end_batch)
    : set_(set),
      transform_(transform, set.samples().size(3), set.samples().device()),
      request_of_(std::move(request_of)),
      next_(first_batch),
      end_(end_batch) {}

Batch ResidentBatches::next() {
  LARGO_CHECK(next_ < end_, "batch ", next_, " is asked for; they end before ", end_);
  BatchRequest request = request_of_(next_);
  std::vector<SampleKey> keys = request.keys;
  if (request.mix < 1 && !keys.empty()) {
    LARGO_CHECK(request.after_last, "mixup without the sample after the last one");
    keys.push_back(*request.after_last);
  }
  Batch raw = transform_.augment(set_.samples(), set_.labels(), keys);
  raw.mix = request.mix;
  raw.keys = std::move(request.keys);
  Batch batch = transform_.finish(std::move(raw));
  ++next_;
  return batch;
}

}  // namespace largo::data
