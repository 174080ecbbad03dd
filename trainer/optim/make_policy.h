// The policy of a run: options and durations turned into a function of the step.
#pragma once

#include <string>

#include "trainer/optim/lr_policy.h"
#include "trainer/optim/lr_schedule.h"
#include "trainer/optim/policy_options.h"

namespace largo::optim {

struct PolicyContext {
  double peak = 0;    // of the kinds with lr.base: at its start, or its top
  double factor = 1;  // of the scaling rule, for every other LR
  double origin = 0;  // the step that is t = 0
  double warmup_steps = 0;
};

struct NamedPolicy {
  Policy policy;
  std::string text;  // for LrSchedule::describe()
};

// A policy whose length is omitted has the steps from the origin to the last update; where there
// are none, the peak is held. Throws OptionError for lengths that do not fit, in steps.
NamedPolicy make_policy(const PolicyOptions& policy, const PolicyContext& context,
                        const ScheduleInputs& inputs);

// Whether a warm-up leads to where the policy goes on, which it has a rise of its own from, and not
// to the peak.
bool has_own_rise(PolicyKind kind);

}  // namespace largo::optim
