#include "trainer/optim/make_controller.h"

namespace largo::optim {

std::unique_ptr<LrController> make_controller(const LrOptions& /*options*/,
                                              const LrSchedule& schedule,
                                              const ScheduleInputs& inputs) {
  return std::make_unique<ScheduleController>(schedule, inputs.total_steps);
}

}  // namespace largo::optim
