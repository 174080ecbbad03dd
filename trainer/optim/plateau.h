// Learning rates that follow training: decided anew whenever a metric has stopped to improve.
#pragma once

#include <memory>
#include <vector>

#include "trainer/optim/lr_controller.h"
#include "trainer/optim/lr_schedule.h"
#include "trainer/optim/options.h"

namespace largo::optim {

// Of the policies plateau_reduce and plateau_change. After every lr.policy.every steps from the end
// of the warm-up on it takes the metric: of the validation set, or the mean training loss of the
// steps since the last time. A metric that is not finite is an AgreedError{kNumerical}. Every
// number it decides by has been reduced, so all ranks decide alike.
//
// plateau_reduce is PyTorch's ReduceLROnPlateau with a relative threshold: a metric is better than
// the best so far if below best × (1 - threshold), accuracies if above best × (1 + threshold);
// after more than `patience` worse ones in a row the LR becomes max(LR × factor, min_lr), unless
// that alters it by 1e-8 or less, and `cooldown` metrics are not counted.
//
// plateau_change is LRBench's (Wu et al. 2019): among policies from the highest LR to the lowest,
// all on the clock of training, it starts with number `first`. Where there are more than `window`
// metrics and none of the last `window` improved on its neighbour by `threshold` or more, it goes
// up by one, or down by one once the part `up_before` of training is done; at an end of the list it
// stays; then `cooldown` metrics are only noted.
std::unique_ptr<LrController> make_plateau_controller(const LrOptions& options,
                                                      const ScheduleInputs& inputs);

// The schedules between which plateau_change chooses, from the highest; one for plateau_reduce, the
// LR before any reduction.
std::vector<LrSchedule> plateau_levels(const LrOptions& options, const ScheduleInputs& inputs);

}  // namespace largo::optim
