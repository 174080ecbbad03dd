#include "trainer/optim/rate_schedules.h"

#include <array>
#include <cmath>
#include <utility>

#include "comm/base/error.h"
#include "trainer/optim/make_policy.h"
#include "trainer/optim/optimizer_options.h"

namespace largo::optim {

namespace {

constexpr const char* kMomentumSchedule = "optimizer.momentum_schedule";
constexpr const char* kDecaySchedule = "optimizer.weight_decay_schedule";

bool is_one_cycle(PolicyKind kind) {
  return kind == PolicyKind::kOneCycle || kind == PolicyKind::kOneCycleTorch;
}

// A learning rate's description as one of `what`, which nothing scales.
std::string described(std::string text, const std::string& what) {
  const std::array<std::pair<std::string, std::string>, 4> words = {
      {{", at lr.base_batch", ""},
       {"; omitted: lr.warmup.length", ", which must be given"},
       {"learning rate", what},
       {"LR ", what + " "}}};
  for (const auto& [from, to] : words) {
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
      text.replace(at, from.size(), to);
      at += to.size();
    }
  }
  return text;
}

// The times of an omitted length end with the run's last update.
NamedPolicy one_cycle(const RateScheduleOptions& options, const PolicyContext& context) {
  const PolicyOptions& policy = options.policy;
  const bool torch = policy.kind == PolicyKind::kOneCycleTorch;
  const double total = policy.length ? context.steps_of(*policy.length)
                       : torch       ? context.rest + 1
                                     : context.rest;
  if (!(total > 0)) return {constant_policy(context.peak), "constant, one cycle having no step"};
  const double middle = options.middle.value();
  const double last = options.last.value_or(context.peak);
  std::vector<double> levels = {context.peak, middle};
  if (torch && policy.three_phase) levels.push_back(context.peak);
  levels.push_back(last);
  auto times =
      torch ? one_cycle_torch_times(policy.pct_start.value_or(0.3), total, policy.three_phase)
            : one_cycle_times(policy.pct_start.value_or(0.25), total);
  return {
      phases_policy(std::move(levels), std::move(times), torch ? policy.anneal : Anneal::kCosine),
      concat("one cycle", torch ? " (PyTorch's)" : "", " from ", context.peak, " by ", middle,
             " to ", last, " in ", total, " steps")};
}

struct RunLength {
  int64_t total_steps;
  const std::function<double(const Duration&)>& steps_of;
};

NamedPolicy make(const std::string& prefix, const RateScheduleOptions& options, double base,
                 const RunLength& run) {
  const PolicyContext context{.prefix = prefix,
                              .peak = base,
                              .rest = static_cast<double>(run.total_steps - 1),
                              .steps_of = run.steps_of};
  return is_one_cycle(options.policy.kind) ? one_cycle(options, context)
                                           : make_policy(options.policy, context);
}

Range<double> non_negative() {
  return {">= 0 and finite", [](const double& v) { return v >= 0 && std::isfinite(v); }};
}

// Throws where a value of the run is not legal.
void check_run(const std::string& prefix, const Policy& policy, int64_t total_steps,
               const char* what, const Range<double>& legal) {
  for_steps(total_steps, [&](double step) {
    if (const double value = policy(step); !legal.holds(value)) {
      throw OptionError({prefix, concat("gives a ", what, " of ", value, " at step ", step,
                                        "; legal: ", legal.words)});
    }
  });
}

}  // namespace

void declare_rate_schedule(OptionTable& table, const std::string& prefix, const std::string& what,
                           const std::vector<std::string>& optimizers,
                           RateScheduleOptions& options) {
  OptionTable keys;
  declare_policy(keys, prefix, options.policy);
  for (Option option : keys.options()) {
    if (option.key == prefix + ".div" || option.key == prefix + ".div_final") continue;
    option.info.description = described(std::move(option.info.description), what);
    if (option.key == prefix + ".kind" && !optimizers.empty()) {
      option.info.applies = {"optimizer.kind", optimizers};
    }
    table.add_option(std::move(option));
  }
  const AppliesTo one_cycle = {prefix + ".kind", {"one_cycle", "one_cycle_torch"}};
  table.add(prefix + ".middle", options.middle, at_least(0.0),
            {.description = what + " after pct_start of the time; it begins at the option's value",
             .required = true,
             .applies = one_cycle});
  table.add(prefix + ".last", options.last, at_least(0.0),
            {.description = "last " + what + "; omitted: as it begins", .applies = one_cycle});
}

void check_rate_schedule(const std::string& key, const std::optional<double>& base,
                         const RateScheduleOptions& options, std::vector<OptionProblem>& problems) {
  const std::string prefix = key + "_schedule";
  const PolicyKind kind = options.policy.kind;
  check_policy(prefix, options.policy, problems);
  if (kind == PolicyKind::kInverseSqrt && !options.policy.timescale) {
    problems.push_back({prefix + ".timescale", "needed by policy inverse_sqrt"});
  }
  if (base && !uses_base(options.policy) && !lacks_parts(options.policy)) {
    problems.push_back({key, concat("does nothing beside ", prefix, ' ', word_of(kind),
                                    ", which has levels of its own; legal: one of the two")});
  }
}

std::optional<double> RateSchedules::momentum(double clock) const {
  return momentum_ ? std::optional(momentum_(clock)) : std::nullopt;
}

std::optional<double> RateSchedules::weight_decay(double clock) const {
  return weight_decay_ ? std::optional(weight_decay_(clock)) : std::nullopt;
}

Rates RateSchedules::at(double lr, double clock) const {
  Rates rates = {lr, momentum(clock), weight_decay(clock)};
  const auto check = [clock](const char* what, double value, const Range<double>& legal) {
    if (legal.holds(value)) return;
    throw AgreedError(ExitCode::kConfig, concat("the ", what, " is ", value, " at ", clock,
                                                " steps of the schedule; legal: ", legal.words));
  };
  check("learning rate", lr, non_negative());
  if (rates.momentum) check("momentum", *rates.momentum, at_least_below(0.0, 1.0));
  if (rates.weight_decay) check("weight decay", *rates.weight_decay, non_negative());
  return rates;
}

std::string RateSchedules::describe() const {
  std::string text;
  if (momentum_) text += concat("momentum: ", momentum_text_);
  if (weight_decay_) {
    text += concat(momentum_ ? "; " : "", "weight decay: ", weight_decay_text_);
  }
  return text;
}

RateSchedules make_rate_schedules(const OptimizerOptions& given, int64_t total_steps,
                                  const std::function<double(const Duration&)>& steps_of) {
  const OptimizerOptions options = with_defaults(given);
  const RunLength run{.total_steps = total_steps, .steps_of = steps_of};
  RateSchedules schedules;
  if (is_scheduled(options.momentum_schedule)) {
    NamedPolicy made =
        make(kMomentumSchedule, options.momentum_schedule, base_momentum(options), run);
    check_run(kMomentumSchedule, made.policy, total_steps, "momentum", at_least_below(0.0, 1.0));
    schedules.momentum_ = std::move(made.policy);
    schedules.momentum_text_ = std::move(made.text);
    if (!given.betas.empty() && !uses_base(options.momentum_schedule.policy)) {
      schedules.momentum_text_ +=
          concat(", in place of ", given.betas.front(), ", the first of optimizer.betas");
    }
  }
  if (is_scheduled(options.weight_decay_schedule)) {
    NamedPolicy made =
        make(kDecaySchedule, options.weight_decay_schedule, options.weight_decay.value_or(0), run);
    check_run(kDecaySchedule, made.policy, total_steps, "weight decay", non_negative());
    schedules.weight_decay_ = std::move(made.policy);
    schedules.weight_decay_text_ = std::move(made.text);
  }
  return schedules;
}

}  // namespace largo::optim
