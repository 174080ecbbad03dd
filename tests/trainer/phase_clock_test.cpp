#include "trainer/phase_clock.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <gtest/gtest.h>

#include <map>

namespace largo {
namespace {

using metrics::Phase;

// A device that is `done_s` seconds into its work: an event happens at the time that was asked for
// when it was recorded, and is complete once the device is past it.
struct FakeDevice {
  double now_s = 0;  // what the next event is recorded at
  double done_s = 0;
  int64_t events = 0;  // made and not destroyed
};
FakeDevice& fake() {
  static FakeDevice device;
  return device;
}

class FakeGuard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return c10::DeviceType::PrivateUse1; }
  c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
  c10::Device getDevice() const override { return {type(), 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device d) const override {
    return c10::Stream(c10::Stream::UNSAFE, d, 0);
  }
  c10::Stream exchangeStream(c10::Stream s) const override { return s; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }

  void record(void** event, const c10::Stream&, const c10::DeviceIndex,
              const c10::EventFlag flag) const override {
    EXPECT_EQ(flag, c10::EventFlag::BACKEND_DEFAULT) << "other events take no times";
    if (*event == nullptr) {
      *event = new double(0);
      ++fake().events;
    }
    *static_cast<double*>(*event) = fake().now_s;
  }
  bool queryEvent(void* event) const override {
    return *static_cast<double*>(event) <= fake().done_s;
  }
  void synchronizeEvent(void* event) const override {
    fake().done_s = std::max(fake().done_s, *static_cast<double*>(event));
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    if (event != nullptr) --fake().events;
    delete static_cast<double*>(event);
  }
  double elapsedTime(void* from, void* to, const c10::DeviceIndex) const override {
    return 1e3 * (*static_cast<double*>(to) - *static_cast<double*>(from));
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, FakeGuard);

// One step: three phases of 1, 2 and 4 units of time.
void run_step(PhaseClock& clock, double unit_s) {
  clock.begin_step();
  for (const auto& [phase, units] : {std::pair(Phase::kData, 1.0), std::pair(Phase::kForward, 2.0),
                                     std::pair(Phase::kBackward, 4.0)}) {
    fake().now_s += units * unit_s;
    clock.lap(phase);
  }
  clock.end_step();
  fake().now_s += 100;  // between steps
}

TEST(PhaseClock, OfADeviceTakesItsTimesWithoutWaiting) {
  {
    metrics::StepTimer timer;
    const auto clock = make_phase_clock(timer, c10::Device(c10::DeviceType::PrivateUse1, 0));
    for (int step = 0; step < 3; ++step) run_step(*clock, 0.5);
    EXPECT_EQ(fake().done_s, 0) << "the host waited";
    EXPECT_EQ(timer.times().p50, 0) << "the device is not done with any step";
    EXPECT_EQ(fake().events, 3 * 4);

    fake().done_s = fake().now_s;  // the device has caught up
    run_step(*clock, 0.5);         // and hands over the three
    EXPECT_DOUBLE_EQ(timer.times().p50, 3.5);
    EXPECT_DOUBLE_EQ(timer.times().data, 0.5);
    EXPECT_DOUBLE_EQ(timer.times().forward, 1);
    EXPECT_DOUBLE_EQ(timer.times().backward, 2);
    EXPECT_DOUBLE_EQ(timer.times().optimizer, 0);

    run_step(*clock, 0.5);
    run_step(*clock, 0.5);
    EXPECT_EQ(fake().events, 4 * 4) << "events are used again";
    for (int step = 0; step < 20; ++step) run_step(*clock, 2);
    clock->collect();
    EXPECT_DOUBLE_EQ(fake().done_s, fake().now_s - 100);
    EXPECT_DOUBLE_EQ(timer.times().p50, 14) << "the warm-up is left out";
  }
  EXPECT_EQ(fake().events, 0);
}

TEST(PhaseClock, OfTheHostTakesWallTimes) {
  metrics::StepTimer timer;
  const auto clock = make_phase_clock(timer, c10::kCPU);
  run_step(*clock, 1);
  const metrics::StepTimes times = timer.times();
  EXPECT_GT(times.p50, 0);
  EXPECT_GE(times.p50, times.data + times.forward + times.backward);
}

}  // namespace
}  // namespace largo
