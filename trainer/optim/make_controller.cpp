#include "trainer/optim/make_controller.h"

#include "trainer/optim/adascale.h"
#include "trainer/optim/plateau.h"

namespace largo::optim {

std::unique_ptr<LrController> make_controller(const LrOptions& options, const LrSchedule& schedule,
                                              const ScheduleInputs& inputs) {
  if (options.scaling == ScalingRule::kAdaScale) {
    return std::make_unique<AdaScaleController>(
        schedule, AdaScaleController::Inputs{.base_steps = inputs.total_steps,
                                             .base_batch = options.base_batch.value(),
                                             .global_batch = inputs.global_batch});
  }
  if (is_plateau(options.policy.kind)) return make_plateau_controller(options, inputs);
  return std::make_unique<ScheduleController>(schedule, inputs.total_steps);
}

}  // namespace largo::optim
