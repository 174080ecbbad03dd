#include "trainer/data/batch_ring.h"

#include <ATen/ops/empty.h>

#include <utility>

#include "comm/base/error.h"

namespace largo::data {

namespace {

using Lane = DeviceStreams::Lane;

Transform raw(Transform transform, const at::Device& device) {
  transform.dtype = at::kByte;
  transform.pinned = !device.is_cpu();
  return transform;
}

// The memory of images that are channels last, in its order.
at::Tensor flat(const at::Tensor& images) {
  return images.permute({0, 2, 3, 1}).view({images.numel()});
}

}  // namespace

BatchRing::BatchRing(const Dataset& dataset, const Transform& transform, int64_t workers,
                     RequestOf request_of, int64_t first_batch, int64_t end_batch,
                     SkippedSamples* skipped, const at::Device& device,
                     std::unique_ptr<DeviceStreams> streams)
    : device_(device),
      transform_(transform, dataset.shape().channels, device),
      streams_(streams ? std::move(streams) : make_device_streams(device, kEvents)),
      uploaded_(first_batch),
      handed_(first_batch),
      loader_(dataset, raw(transform, device), workers, std::move(request_of), first_batch,
              end_batch, skipped) {}

Batch BatchRing::next() {
  if (uploaded_ == handed_) upload();
  const int number = slot_of(handed_);
  streams_->wait(copied(number), Lane::kCompute);
  Batch batch = transform_.finish(on_device(slots_[static_cast<size_t>(number)]));
  streams_->record(consumed(number), Lane::kCompute);
  ++handed_;
  // While the caller works on this batch the next ones are copied, those that are there already.
  while (uploaded_ < handed_ + kSlots - 1 && loader_.ready()) upload();
  return batch;
}

void BatchRing::upload() {
  const int number = slot_of(uploaded_);
  Slot& slot = slots_[static_cast<size_t>(number)];
  streams_->host_wait(copied(number));
  slot.raw = {};  // its memory may be written again
  Batch raw = loader_.next();
  const at::Tensor pixels = flat(raw.images);
  reserve(number, pixels.numel(), raw.labels.numel());
  streams_->wait(consumed(number), Lane::kCopy);
  streams_->copy(pixels, slot.pixels.narrow(0, 0, pixels.numel()));
  streams_->copy(raw.labels, slot.labels.narrow(0, 0, raw.labels.numel()));
  streams_->record(copied(number), Lane::kCopy);
  slot.raw = std::move(raw);
  ++uploaded_;
}

void BatchRing::reserve(int number, int64_t pixels, int64_t labels) {
  Slot& slot = slots_[static_cast<size_t>(number)];
  const auto grow = [&](at::Tensor& tensor, int64_t size, at::ScalarType dtype) {
    if (tensor.defined() && tensor.numel() >= size) return;
    tensor = at::empty({size}, at::TensorOptions(dtype).device(device_));
    streams_->used_by_copies(tensor);
    // Who had the memory before may still be at it, on the compute lane.
    streams_->record(consumed(number), Lane::kCompute);
  };
  grow(slot.pixels, pixels, at::kByte);
  grow(slot.labels, labels, at::kLong);
}

Batch BatchRing::on_device(Slot& slot) const {
  const at::Tensor& host = slot.raw.images;
  const int64_t images = host.size(0), channels = host.size(1);
  return {.images = slot.pixels.narrow(0, 0, host.numel())
                        .view({images, host.size(2), host.size(3), channels})
                        .permute({0, 3, 1, 2}),
          .labels = slot.labels.narrow(0, 0, images).clone(),  // the slot's memory is written again
          .partner_labels = {},
          .mix = slot.raw.mix,
          .keys = std::move(slot.raw.keys)};
}

}  // namespace largo::data
