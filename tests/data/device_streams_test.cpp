// Streams of c10 on a device that writes down what it is asked for.
#include "trainer/data/device_streams.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/error.h"

namespace largo::data {
namespace {

using testing::ElementsAre;
using Lane = DeviceStreams::Lane;

// c10 knows one object per type of device, for as long as the program runs.
struct Notes {
  std::vector<std::string> calls;
  int64_t current = 1;   // stream
  int64_t pool = 7;      // the stream that the pool gives next
  int64_t events = 0;    // made so far
  bool complete = true;  // what queries answer
};

Notes& notes() {
  static Notes all;
  return all;
}

std::vector<std::string> take_calls() { return std::exchange(notes().calls, {}); }

class NotingDevice final : public c10::impl::DeviceGuardImplInterface {
 public:
  explicit NotingDevice(c10::DeviceType) {}
  NotingDevice() = default;

  c10::DeviceType type() const override { return c10::kPrivateUse1; }
  c10::Device exchangeDevice(c10::Device) const override { return {type(), 0}; }
  c10::Device getDevice() const override { return {type(), 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, notes().current);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, notes().pool);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const int64_t old = std::exchange(notes().current, stream.id());
    note("current", stream);
    return c10::Stream(c10::Stream::UNSAFE, stream.device(), old);
  }
  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex,
              const c10::EventFlag) const override {
    // A number in the place of an event. NOLINTNEXTLINE(performance-no-int-to-ptr)
    if (*event == nullptr) *event = reinterpret_cast<void*>(++notes().events);
    note("record " + number(*event) + " on", stream);
  }
  void block(void* event, const c10::Stream& stream) const override {
    note("wait for " + number(event) + " on", stream);
  }
  bool queryEvent(void* event) const override {
    notes().calls.push_back("query " + number(event));
    return notes().complete;
  }
  void synchronizeEvent(void* event) const override {
    notes().calls.push_back("host waits for " + number(event));
  }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream& stream) const override {
    note("memory used by", stream);
  }

 private:
  static std::string number(void* event) {
    return std::to_string(reinterpret_cast<int64_t>(event));
  }
  static void note(const std::string& what, const c10::Stream& stream) {
    notes().calls.push_back(what + " " + std::to_string(stream.id()));
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, NotingDevice);

const at::Device kDevice(at::kPrivateUse1, 0);

TEST(DeviceStreams, RecordsAndWaitsOnTheLaneThatIsNamed) {
  notes() = {};
  const auto streams = make_device_streams(kDevice, 3);
  streams->wait(2, Lane::kCompute);
  streams->wait(2, Lane::kCopy);
  streams->host_wait(2);
  EXPECT_THAT(take_calls(), ElementsAre()) << "not recorded yet";
  streams->record(2, Lane::kCopy);
  streams->record(0, Lane::kCompute);
  streams->wait(2, Lane::kCompute);
  streams->wait(0, Lane::kCopy);
  EXPECT_THAT(take_calls(),
              ElementsAre("record 1 on 7", "record 2 on 1", "wait for 1 on 1", "wait for 2 on 7"));
  notes().current = 5;
  streams->record(0, Lane::kCompute);
  EXPECT_THAT(take_calls(), ElementsAre("record 2 on 5")) << "the stream that is current now";
}

TEST(DeviceStreams, TheHostWaitsForWhatIsNotComplete) {
  notes() = {};
  const auto streams = make_device_streams(kDevice, 1);
  streams->record(0, Lane::kCopy);
  take_calls();
  streams->host_wait(0);
  EXPECT_THAT(take_calls(), ElementsAre("query 1"));
  notes().complete = false;
  streams->host_wait(0);
  EXPECT_THAT(take_calls(), ElementsAre("query 1", "host waits for 1"));
}

TEST(DeviceStreams, CopiesOnTheirOwnStream) {
  notes() = {};
  const auto streams = make_device_streams(kDevice, 1);
  const at::Tensor from = at::full({3}, 4, at::kLong), to = at::zeros({3}, at::kLong);
  streams->copy(from, to);
  EXPECT_THAT(take_calls(), ElementsAre("current 7", "current 1"));
  EXPECT_TRUE(at::equal(from, to));
  streams->used_by_copies(to);
  EXPECT_THAT(take_calls(), ElementsAre("memory used by 7"));
}

TEST(DeviceStreams, ADeviceNeedsItsNumber) {
  EXPECT_THROW(make_device_streams(at::Device(at::kCUDA), 1), Error);
}

}  // namespace
}  // namespace largo::data
