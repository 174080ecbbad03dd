#include "trainer/data/device_streams.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <vector>

#include "comm/base/error.h"

namespace largo::data {

namespace {

// Errors of the device are thrown as c10::Error.
class C10Streams final : public DeviceStreams {
 public:
  C10Streams(const at::Device& device, int events)
      : device_(device),
        operations_(device.type()),
        copy_(operations_.getStreamFromGlobalPool(device)) {
    for (int i = 0; i < events; ++i) events_.emplace_back(device.type());
  }

  void record(int event, Lane lane) override { at(event).record(stream(lane)); }
  void wait(int event, Lane lane) override { at(event).block(stream(lane)); }
  void host_wait(int event) override {
    if (!at(event).query()) at(event).synchronize();
  }

  void copy(const at::Tensor& from, const at::Tensor& to) override {
    const c10::StreamGuard guard(copy_);
    to.copy_(from, /*non_blocking=*/true);
  }

  void used_by_copies(const at::Tensor& tensor) override {
    operations_.recordDataPtrOnStream(tensor.storage().data_ptr(), copy_);
  }

 private:
  c10::Event& at(int event) { return events_.at(static_cast<size_t>(event)); }
  c10::Stream stream(Lane lane) const {
    return lane == Lane::kCopy ? copy_ : operations_.getStream(device_);
  }

  at::Device device_;
  c10::impl::VirtualGuardImpl operations_;
  c10::Stream copy_;
  std::vector<c10::Event> events_;
};

}  // namespace

std::unique_ptr<DeviceStreams> make_device_streams(const at::Device& device, int events) {
  LARGO_CHECK(device.has_index(), "device ", device.str(), " without its number");
  return std::make_unique<C10Streams>(device, events);
}

}  // namespace largo::data
