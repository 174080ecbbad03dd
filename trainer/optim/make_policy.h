// Policies from their options: options and durations turned into a function of the step.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "trainer/base/duration.h"
#include "trainer/optim/lr_policy.h"
#include "trainer/optim/policy_options.h"

namespace largo::optim {

struct PolicyContext {
  std::string prefix = "lr.policy";  // of the keys that problems are named by
  double peak = 0;                   // of the kinds with a base: at its start, or its top
  double factor = 1;                 // of the scaling rule, for every other level
  double origin = 0;                 // the step that is t = 0
  double rest = 0;                   // t at the last update, or where the piece ends: what an
                                     // omitted length is
  bool within_piece = false;         // `rest` is where a piece ends, not where training does
  double warmup_steps = 0;           // of the run
  double warmup_length = 0;  // as it is given, also where no warm-up is needed: timescale of
                             // inverse_sqrt where it is omitted
  std::function<double(const Duration&)> steps_of = {};  // durations in steps
};

struct NamedPolicy {
  Policy policy;
  std::string text;  // for LrSchedule::describe()
};

// The plateau policies give what training starts with: plateau.h. Where `rest` is 0 or less and a
// length is omitted, the peak is held. Throws OptionError for lengths that do not fit, in steps.
NamedPolicy make_policy(const PolicyOptions& policy, const PolicyContext& context);

// Whether a warm-up leads to where the policy goes on, which may have a rise of its own from there,
// and not to the peak.
bool has_own_rise(PolicyKind kind);

// Calls take(step) for every step of a run, or for four million spread over a longer one, its first
// and last among them.
void for_steps(int64_t total_steps, const std::function<void(double step)>& take);

}  // namespace largo::optim
