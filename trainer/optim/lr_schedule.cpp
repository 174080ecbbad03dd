#include "trainer/optim/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/base/error.h"
#include "trainer/optim/adascale.h"
#include "trainer/optim/make_policy.h"
#include "trainer/optim/scaling.h"

namespace largo::optim {

namespace {

bool starts_after_warmup(const LrOptions& options) {
  if (options.policy_clock != PolicyClock::kByPolicy) {
    return options.policy_clock == PolicyClock::kAfterWarmup;
  }
  switch (options.policy.kind) {
    case PolicyKind::kConstant:
    case PolicyKind::kStep:
    case PolicyKind::kMultistep:
    case PolicyKind::kPlateauReduce:
    case PolicyKind::kPlateauChange:
      return false;
    default:
      return true;
  }
}

// The LR at base_batch that the factor makes the peak.
double base_of(const LrOptions& options) {
  return top_of(options.policy, options.base.value_or(0));
}

std::string describe_scaling(const LrOptions& options, double peak, double factor,
                             const ScheduleInputs& inputs) {
  if (options.scaling == ScalingRule::kNone) return concat("peak LR ", peak, " (no scaling)");
  const std::string why = concat(" (", word_of(options.scaling), ", batch ", inputs.global_batch,
                                 " / ", *options.base_batch, ")");
  if (options.scaling != ScalingRule::kAdaScale) {
    return concat("peak LR ", peak, " = ", base_of(options), " × ", factor, why);
  }
  const double k = batch_factor(options, inputs.global_batch);
  const StepBounds steps = adascale_bounds(inputs.total_steps, k);
  return concat("peak LR ", peak, " × a gain of 1 to ", k, why, ", ", steps.least, " to ",
                steps.most, " steps");
}

// The highest LR of a run's updates. Throws where one is not finite: a div near 0, a gamma above 1
// over a long run, or a base may be too much.
double highest_of(const LrSchedule& schedule, int64_t total_steps) {
  double highest = 0;
  for_steps(total_steps, [&](double step) {
    const double lr = schedule.lr(step);
    if (!std::isfinite(lr)) {
      throw OptionError({"lr.policy", concat("gives the learning rate ", lr, " at step ", step,
                                             "; legal: finite ones")});
    }
    highest = std::max(highest, lr);
  });
  return highest;
}

// Where the peak is not the highest LR of the run. One between two steps counts as reached.
std::string describe_reach(const LrSchedule& schedule, const LrOptions& options, double highest,
                           int64_t total_steps) {
  constexpr double kNearly = 0.99;
  constexpr double kRounding = 1e-9;
  const auto steps = static_cast<double>(total_steps);
  if (total_steps > 0 && schedule.warmup_steps() >= steps) {
    return concat("; training ends within the warm-up, at LR ", schedule.lr(steps - 1));
  }
  if (highest > schedule.peak() * (1 + kRounding)) {
    return concat("; the LR gets above the peak, to ", highest);
  }
  if (is_plateau(options.policy.kind) || highest >= schedule.peak() * kNearly) return {};
  return concat("; the LR of this run stays below the peak, at most ", highest);
}

}  // namespace

std::string LrSchedule::describe_warmup(const LrOptions& options, double base,
                                        int64_t global_batch) const {
  if (options.warmup.kind == WarmupKind::kNone) return "; no warm-up";
  if (warmup_ == WarmupKind::kNone) {
    return concat("; no warm-up, as it would start at the base LR ", base,
                  ", which the peak does not exceed");
  }
  return concat(warmup_ == WarmupKind::kConstant      ? "; warm-up at "
                : warmup_ == WarmupKind::kExponential ? "; exponential warm-up from "
                : warmup_ == WarmupKind::kSigmoid     ? "; sigmoid warm-up from "
                                                      : "; warm-up from ",
                warmup_start_, " for ", warmup_steps_, " steps",
                options.scaling == ScalingRule::kLegw
                    ? concat(" (", OptionCodec<Duration>::print(*options.warmup.length), " × ",
                             batch_factor(options, global_batch), ")")
                    : "");
}

double LrSchedule::lr(double step) const {
  if (step >= warmup_steps_) return policy_(step - policy_origin_);
  const double x = step / warmup_steps_;
  switch (warmup_) {
    case WarmupKind::kConstant:
      return warmup_start_;
    case WarmupKind::kExponential:
      return warmup_start_ * std::pow(warmup_target_ / warmup_start_, x);
    case WarmupKind::kSigmoid:
      return warmup_start_ +
             (warmup_target_ - warmup_start_) / (1 + std::exp(-warmup_kappa_ * (2 * x - 1)));
    case WarmupKind::kNone:
    case WarmupKind::kGradual:
      break;
  }
  return warmup_start_ + (warmup_target_ - warmup_start_) * x;
}

LrSchedule make_schedule(const LrOptions& options, const ScheduleInputs& inputs) {
  LrSchedule schedule;
  schedule.factor_ = lr_factor(options, inputs.global_batch);
  schedule.peak_ = base_of(options) * schedule.factor_;

  const WarmupStart& start = options.warmup.start;
  const bool from_base = start.kind == WarmupStart::Kind::kBase;
  const double warmup_length = options.warmup.kind == WarmupKind::kNone
                                   ? 0
                                   : inputs.steps_of(scaled_warmup(options, inputs.global_batch));
  if (options.warmup.kind != WarmupKind::kNone && !(from_base && schedule.factor_ <= 1)) {
    schedule.warmup_ = options.warmup.kind;
    schedule.warmup_kappa_ = options.warmup.kappa;
    schedule.warmup_steps_ = warmup_length;
  }

  const bool after_warmup = starts_after_warmup(options);
  schedule.policy_origin_ = after_warmup ? schedule.warmup_steps_ : 0;
  const PolicyKind kind = options.policy.kind;
  auto [policy, text] =
      make_policy(options.policy,
                  {.peak = options.base.value_or(0) * schedule.factor_,
                   .factor = schedule.factor_,
                   .origin = schedule.policy_origin_,
                   .rest = static_cast<double>(inputs.total_steps - 1) - schedule.policy_origin_,
                   .warmup_steps = schedule.warmup_steps_,
                   .warmup_length = warmup_length,
                   .steps_of = inputs.steps_of});
  schedule.policy_ = std::move(policy);

  double base = base_of(options);
  schedule.warmup_target_ = schedule.peak_;
  if (has_own_rise(kind)) {
    schedule.warmup_target_ = schedule.policy_(schedule.warmup_steps_ - schedule.policy_origin_);
    base = schedule.warmup_target_ / schedule.factor_;
  }
  schedule.warmup_start_ = from_base ? base
                           : start.kind == WarmupStart::Kind::kZero
                               ? 0
                               : start.number * schedule.factor_;
  if (schedule.warmup_ == WarmupKind::kExponential &&
      !(schedule.warmup_start_ > 0 && schedule.warmup_target_ > 0)) {
    throw OptionError({"lr.warmup.kind", concat("exponential from ", schedule.warmup_start_, " to ",
                                                schedule.warmup_target_,
                                                "; legal: between two learning rates above 0")});
  }
  const double highest = highest_of(schedule, inputs.total_steps);

  schedule.description_ = describe_scaling(options, schedule.peak_, schedule.factor_, inputs) +
                          schedule.describe_warmup(options, base, inputs.global_batch) + "; " +
                          text;
  if (schedule.warmup_steps_ > 0 && kind != PolicyKind::kConstant) {
    schedule.description_ += after_warmup ? " after it" : " counted from the start of training";
  }
  schedule.description_ += describe_reach(schedule, options, highest, inputs.total_steps);
  return schedule;
}

}  // namespace largo::optim
