#include "trainer/phase_clock.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <deque>
#include <utility>
#include <vector>

namespace largo {

namespace {

using metrics::Phase;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class HostClock final : public PhaseClock {
 public:
  explicit HostClock(metrics::StepTimer& timer) : timer_(timer) {}

  void begin_step() override { start_s_ = last_s_ = now_s(); }
  void lap(Phase phase) override {
    const double now = now_s();
    timer_.add(phase, now - std::exchange(last_s_, now));
  }
  void end_step() override { timer_.end_step(now_s() - start_s_); }
  void collect() override {}

 private:
  metrics::StepTimer& timer_;
  double start_s_ = 0;
  double last_s_ = 0;
};

class DeviceClock final : public PhaseClock {
 public:
  DeviceClock(metrics::StepTimer& timer, at::Device device)
      : timer_(timer), device_(device), streams_(device.type()) {}

  void begin_step() override { steps_.push_back({.start = record(), .laps = {}}); }
  void lap(Phase phase) override { steps_.back().laps.emplace_back(phase, record()); }

  // Of a step that is still under way on the device nothing is asked; it comes with a later one.
  void end_step() override {
    while (!steps_.empty() && steps_.front().last().query()) hand_over();
  }

  void collect() override {
    while (!steps_.empty()) {
      steps_.front().last().synchronize();
      hand_over();
    }
  }

 private:
  struct Step {
    c10::Event start;
    std::vector<std::pair<Phase, c10::Event>> laps;
    const c10::Event& last() const { return laps.empty() ? start : laps.back().second; }
  };

  c10::Event record() {
    c10::Event event = spare_.empty() ? c10::Event(device_.type(), c10::EventFlag::BACKEND_DEFAULT)
                                      : std::move(spare_.back());
    if (!spare_.empty()) spare_.pop_back();
    event.record(streams_.getStream(device_));
    return event;
  }

  void hand_over() {
    Step step = std::move(steps_.front());
    steps_.pop_front();
    const c10::Event* before = &step.start;
    for (const auto& [phase, event] : step.laps) {
      timer_.add(phase, before->elapsedTime(event) / 1e3);
      before = &event;
    }
    timer_.end_step(step.laps.empty() ? 0 : step.start.elapsedTime(step.last()) / 1e3);
    spare_.push_back(std::move(step.start));
    for (auto& [phase, event] : step.laps) spare_.push_back(std::move(event));
  }

  metrics::StepTimer& timer_;
  at::Device device_;
  c10::impl::VirtualGuardImpl streams_;
  std::deque<Step> steps_;  // not handed over yet
  std::vector<c10::Event> spare_;
};

}  // namespace

std::unique_ptr<PhaseClock> make_phase_clock(metrics::StepTimer& timer, at::Device device) {
  if (device.is_cpu()) return std::make_unique<HostClock>(timer);
  return std::make_unique<DeviceClock>(timer, device);
}

}  // namespace largo
