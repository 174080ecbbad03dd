#include "trainer/optim/lr_schedule.h"

#include <cmath>
#include <utility>
#include <vector>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

double factor_of(const LrOptions& options, int64_t global_batch) {
  if (options.scaling == ScalingRule::kNone) return 1;
  LARGO_CHECK(options.base_batch.has_value(), "lr.base_batch is missing; check() finds that");
  const double k = static_cast<double>(global_batch) / static_cast<double>(*options.base_batch);
  return options.scaling == ScalingRule::kLinear ? k : std::sqrt(k);
}

bool starts_after_warmup(const LrOptions& options) {
  if (options.policy_clock != PolicyClock::kByPolicy) {
    return options.policy_clock == PolicyClock::kAfterWarmup;
  }
  switch (options.policy.kind) {
    case PolicyKind::kConstant:
    case PolicyKind::kStep:
    case PolicyKind::kMultistep:
      return false;
    case PolicyKind::kExponential:
    case PolicyKind::kPolynomial:
    case PolicyKind::kCosine:
      return true;
  }
  return false;
}

std::vector<double> milestone_steps(const PolicyOptions& policy, const ScheduleInputs& inputs) {
  std::vector<double> steps;
  for (const Duration& milestone : policy.milestones) {
    const double step = inputs.steps_of(milestone);
    if (!steps.empty() && step <= steps.back()) {
      throw OptionError(
          {"lr.policy.milestones", concat(OptionCodec<Duration>::print(milestone), " is step ",
                                          step, ", not after the one before it (step ",
                                          steps.back(), "); legal: strictly increasing")});
    }
    steps.push_back(step);
  }
  return steps;
}

// In steps of the policy's clock; <= 0 where the length was omitted and no training is left.
double policy_length(const PolicyOptions& policy, const ScheduleInputs& inputs, double origin) {
  if (!policy.length) return static_cast<double>(inputs.total_steps - 1) - origin;
  const double steps = inputs.steps_of(*policy.length);
  if (!(steps > 0)) {
    throw OptionError({"lr.policy.length", concat(OptionCodec<Duration>::print(*policy.length),
                                                  " is ", steps, " steps; legal: more than none")});
  }
  return steps;
}

// The policy and its part of the description.
std::pair<Policy, std::string> make_policy(const PolicyOptions& policy, double peak, double factor,
                                           const ScheduleInputs& inputs, double origin) {
  if (policy.kind == PolicyKind::kConstant) return {constant_policy(peak), "constant"};
  if (policy.kind == PolicyKind::kMultistep) {
    const std::vector<double> at = milestone_steps(policy, inputs);
    std::string text = concat("multistep × ", policy.gamma, " at");
    for (const double step : at) text += concat(at.front() == step ? " " : ", ", step + origin);
    return {multistep_policy(peak, policy.gamma, at), text};
  }
  const double length = policy_length(policy, inputs, origin);
  if (length <= 0) return {constant_policy(peak), "constant, no step being left for the policy"};
  const double end = policy.end * factor;
  switch (policy.kind) {
    case PolicyKind::kStep:
      return {step_policy(peak, policy.gamma, length),
              concat("step × ", policy.gamma, " every ", length, " steps")};
    case PolicyKind::kExponential:
      return {exponential_policy(peak, policy.gamma, length),
              concat("exponential × ", policy.gamma, " in ", length, " steps")};
    case PolicyKind::kPolynomial:
      return {polynomial_policy(peak, end, policy.power, length),
              concat("polynomial of power ", policy.power, " to ", end, " in ", length, " steps")};
    default:
      return {cosine_policy(peak, end, length),
              concat("cosine to ", end, " in ", length, " steps")};
  }
}

std::string describe_scaling(const LrOptions& options, double peak, double factor,
                             int64_t global_batch) {
  if (options.scaling == ScalingRule::kNone) return concat("peak LR ", peak, " (no scaling)");
  const char* rule = options.scaling == ScalingRule::kLinear ? "linear" : "sqrt";
  return concat("peak LR ", peak, " = ", options.base, " × ", factor, " (", rule, ", batch ",
                global_batch, " / ", *options.base_batch, ")");
}

}  // namespace

double LrSchedule::lr(double step) const {
  if (step >= warmup_steps_) return policy_(step - policy_origin_);
  const double x = step / warmup_steps_;
  switch (warmup_) {
    case WarmupKind::kConstant:
      return warmup_start_;
    case WarmupKind::kExponential:
      return warmup_start_ * std::pow(peak_ / warmup_start_, x);
    case WarmupKind::kSigmoid:
      return warmup_start_ + (peak_ - warmup_start_) / (1 + std::exp(-warmup_kappa_ * (2 * x - 1)));
    case WarmupKind::kNone:
    case WarmupKind::kGradual:
      break;
  }
  return warmup_start_ + (peak_ - warmup_start_) * x;
}

LrSchedule make_schedule(const LrOptions& options, const ScheduleInputs& inputs) {
  LrSchedule schedule;
  schedule.factor_ = factor_of(options, inputs.global_batch);
  schedule.peak_ = options.base * schedule.factor_;
  schedule.description_ =
      describe_scaling(options, schedule.peak_, schedule.factor_, inputs.global_batch);

  const WarmupStart& start = options.warmup.start;
  if (options.warmup.kind == WarmupKind::kNone) {
    schedule.description_ += "; no warm-up";
  } else if (start.kind == WarmupStart::Kind::kBase && schedule.factor_ <= 1) {
    schedule.description_ += concat("; no warm-up, as it would start at the base LR ", options.base,
                                    ", which the peak does not exceed");
  } else {
    LARGO_CHECK(options.warmup.length.has_value(), "lr.warmup.length is missing");
    schedule.warmup_ = options.warmup.kind;
    schedule.warmup_kappa_ = options.warmup.kappa;
    schedule.warmup_steps_ = inputs.steps_of(*options.warmup.length);
    schedule.warmup_start_ = start.kind == WarmupStart::Kind::kBase ? options.base
                             : start.kind == WarmupStart::Kind::kZero
                                 ? 0
                                 : start.number * schedule.factor_;
    schedule.description_ +=
        concat(options.warmup.kind == WarmupKind::kConstant ? "; warm-up at " : "; warm-up from ",
               schedule.warmup_start_, " for ", schedule.warmup_steps_, " steps");
  }

  const bool after_warmup = starts_after_warmup(options);
  schedule.policy_origin_ = after_warmup ? schedule.warmup_steps_ : 0;
  auto [policy, text] = make_policy(options.policy, schedule.peak_, schedule.factor_, inputs,
                                    schedule.policy_origin_);
  schedule.policy_ = std::move(policy);
  schedule.description_ += "; " + text;
  if (schedule.warmup_steps_ > 0 && options.policy.kind != PolicyKind::kConstant) {
    schedule.description_ += after_warmup ? " after it" : " counted from the start of training";
  }
  return schedule;
}

}  // namespace largo::optim
