// The controller that a run's learning-rate options ask for.
#pragma once

#include <memory>

#include "trainer/optim/lr_controller.h"
#include "trainer/optim/lr_schedule.h"
#include "trainer/optim/options.h"

namespace largo::optim {

// `schedule` is make_schedule(options, inputs).
std::unique_ptr<LrController> make_controller(const LrOptions& options, const LrSchedule& schedule,
                                              const ScheduleInputs& inputs);

}  // namespace largo::optim
