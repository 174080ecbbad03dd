// How long each part of a step took, on whatever computes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "trainer/metrics/step_timer.h"

namespace largo {

// Per step: begin_step(), a lap() at the end of each stretch, naming the phase it belongs to,
// end_step().
//
// On the CPU these are wall times of the calling thread, and the timer has them at once. On a
// device they are times of its current stream, taken by events between the kernels: the host does
// not wait, and the timer gets a step when the device is done with it, in end_step() of a later one
// or in collect(). So a phase is what the device spent, waiting for the host included.
class PhaseClock {
 public:
  virtual ~PhaseClock() = default;
  virtual void begin_step() = 0;
  virtual void lap(metrics::Phase phase) = 0;
  virtual void end_step() = 0;

  // Hands all steps so far to the timer; the host waits for the device.
  virtual void collect() = 0;
};

// `timer` must outlive the clock.
std::unique_ptr<PhaseClock> make_phase_clock(metrics::StepTimer& timer, at::Device device);

}  // namespace largo
