// Momentum and weight decay over time: optimizer.momentum_schedule,
// optimizer.weight_decay_schedule.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"
#include "trainer/optim/lr_policy.h"
#include "trainer/optim/policy_options.h"
#include "trainer/optim/rates.h"

namespace largo::optim {

struct OptimizerOptions;

// A policy like the learning rate's, whose base is the option that it schedules. Constant: not
// scheduled.
struct RateScheduleOptions {
  PolicyOptions policy = {};
  // one_cycle, one_cycle_torch: from the option's value to the middle, then to the last.
  std::optional<double> middle = {};
  std::optional<double> last = {};  // empty: the option's value
};

inline bool is_scheduled(const RateScheduleOptions& options) {
  return options.policy.kind != PolicyKind::kConstant;
}

// The keys of lr.policy below `prefix`, but middle and last instead of div and div_final. `what` is
// the option that is scheduled, for descriptions; the schedule belongs to `optimizers` (empty:
// all).
void declare_rate_schedule(OptionTable& table, const std::string& prefix, const std::string& what,
                           const std::vector<std::string>& optimizers,
                           RateScheduleOptions& options);
// Of the option `key` with the value `base`; its schedule is "<key>_schedule". Beside one
// that has levels of its own there must be no base.
void check_rate_schedule(const std::string& key, const std::optional<double>& base,
                         const RateScheduleOptions& options, std::vector<OptionProblem>& problems);

// Pure functions of time: a resumed run needs no state of them.
class RateSchedules {
 public:
  RateSchedules() = default;  // nothing is scheduled

  // `clock` is LrController::clock(step). Empty where the option is not scheduled.
  std::optional<double> momentum(double clock) const;
  std::optional<double> weight_decay(double clock) const;
  // Of a step whose learning rate is `lr`. Throws AgreedError{kConfig} for what is not legal: of
  // very long runs not every step is looked at before they start, and a rule such as AdaScale
  // multiplies the schedule's learning rate.
  Rates at(double lr, double clock) const;

  // "momentum: cosine to 0.8 in 99 steps; ...", for the log at the start; empty: none.
  std::string describe() const;

 private:
  friend RateSchedules make_rate_schedules(const OptimizerOptions&, int64_t,
                                           const std::function<double(const Duration&)>&);
  Policy momentum_;
  Policy weight_decay_;
  std::string momentum_text_, weight_decay_text_;
};

// Never scaled with the batch; an omitted length is the whole training. The options have passed
// check(). Throws OptionError for what shows only in steps, and where a momentum of the run is not
// in [0, 1).
RateSchedules make_rate_schedules(const OptimizerOptions& options, int64_t total_steps,
                                  const std::function<double(const Duration&)>& steps_of);

}  // namespace largo::optim
