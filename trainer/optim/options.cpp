#include "trainer/optim/options.h"

#include <stdexcept>
#include <string_view>
#include <utility>

#include "comm/base/error.h"
#include "trainer/optim/scaling.h"

namespace largo {

optim::WarmupStart OptionCodec<optim::WarmupStart>::parse(std::string_view text) {
  using Kind = optim::WarmupStart::Kind;
  if (text == "base") return {Kind::kBase, 0};
  if (text == "zero") return {Kind::kZero, 0};
  double number = 0;
  try {
    number = OptionCodec<double>::parse(text);
  } catch (const std::invalid_argument&) {
    throw std::invalid_argument("is neither base nor zero nor a number");
  }
  if (number < 0) throw std::invalid_argument("is negative");
  return {Kind::kNumber, number};
}

std::string OptionCodec<optim::WarmupStart>::print(const optim::WarmupStart& value) {
  switch (value.kind) {
    case optim::WarmupStart::Kind::kBase:
      return "base";
    case optim::WarmupStart::Kind::kZero:
      return "zero";
    case optim::WarmupStart::Kind::kNumber:
      return OptionCodec<double>::print(value.number);
  }
  return {};
}

}  // namespace largo

namespace largo::optim {

namespace {

void declare_warmup(OptionTable& table, WarmupOptions& warmup) {
  const AppliesTo with_warmup = {"lr.warmup.kind",
                                 {"constant", "gradual", "exponential", "sigmoid"}};
  table.add_choice<WarmupKind>("lr.warmup.kind", warmup.kind,
                               {{"none", WarmupKind::kNone},
                                {"constant", WarmupKind::kConstant},
                                {"gradual", WarmupKind::kGradual},
                                {"exponential", WarmupKind::kExponential},
                                {"sigmoid", WarmupKind::kSigmoid}},
                               {.description = "how the learning rate gets to its peak: gradual "
                                               "goes there linearly, exponential by equal factors, "
                                               "sigmoid in an S, constant holds the start"});
  table.add("lr.warmup.length", warmup.length, Range<Duration>{},
            {.description = "the peak is reached after so long", .applies = with_warmup});
  table.add("lr.warmup.start", warmup.start, Range<WarmupStart>{},
            {.description = "where it starts: base is the unscaled base LR, a number is stated at "
                            "lr.base_batch",
             .applies = with_warmup});
  table.add("lr.warmup.kappa", warmup.kappa, above(0.0),
            {.description = "steepness of the S: it leaves out 1 / (1 + exp(kappa)) of the way at "
                            "either end",
             .applies = {"lr.warmup.kind", {"sigmoid"}}});
}

}  // namespace

void declare_options(OptionTable& table, LrOptions& options) {
  table.add("lr.base", options.base, above(0.0),
            {.description = "learning rate at lr.base_batch; needed unless every policy has k0, k1 "
                            "or a base of its own",
             .applies = policies_with_base("lr.policy")});
  table.add("lr.base_batch", options.base_batch, at_least<int64_t>(1),
            {.description = "global batch that every learning rate of this file is stated at; "
                            "needed unless lr.scaling is none",
             .unit = "samples"});
  table.add_choice<ScalingRule>(
      "lr.scaling", options.scaling,
      {{"none", ScalingRule::kNone},
       {"linear", ScalingRule::kLinear},
       {"sqrt", ScalingRule::kSqrt},
       {"legw", ScalingRule::kLegw},
       {"adam_sqrt", ScalingRule::kAdamSqrt},
       {"adascale", ScalingRule::kAdaScale}},
      {.description = "what learning rates are multiplied by, with k = "
                      "batch.global / lr.base_batch: none 1, linear k, "
                      "the others sqrt(k). legw: also k times the "
                      "warm-up; adam_sqrt: also 1 - beta times k, epsilon "
                      "/ sqrt(k); adascale: a gain of 1 to k by each "
                      "step's gradients, and train.length, lengths and "
                      "milestones count steps of lr.base_batch"});
  declare_warmup(table, options.warmup);
  declare_policy(table, "lr.policy", options.policy, PolicyUse::kMayFollowTraining);
  table.add_choice<PolicyClock>(
      "lr.policy_clock", options.policy_clock,
      {{"by_policy", PolicyClock::kByPolicy},
       {"global", PolicyClock::kGlobal},
       {"after_warmup", PolicyClock::kAfterWarmup}},
      {.description = "where the policy's time starts; by_policy: global for constant, step and "
                      "multistep, after_warmup for the others"});
}

std::optional<ScalingRule> default_scaling(const OptimizerOptions& optimizer) {
  if (optimizer.kind == "sgd") return ScalingRule::kLinear;
  if (optimizer.kind == "lars") return ScalingRule::kNone;
  return std::nullopt;
}

std::vector<OptionProblem> check(const LrOptions& options) {
  std::vector<OptionProblem> problems;
  if (!options.base && uses_base(options.policy)) {
    problems.push_back({"lr", "base is missing: learning rate at lr.base_batch; number > 0"});
  }
  if (!is_cycle(options.policy.kind) && options.base && !uses_base(options.policy) &&
      !lacks_parts(options.policy)) {
    problems.push_back(
        {"lr.base", "nothing in lr.policy starts from it: all have levels of their own"});
  }
  if (options.scaling != ScalingRule::kNone && !options.base_batch) {
    problems.push_back({"lr.base_batch", concat("needed by scaling ", word_of(options.scaling),
                                                ": 0.1 is Goyal's at 256, He's for CIFAR at 128")});
  }
  if (options.warmup.kind != WarmupKind::kNone) {
    if (!options.warmup.length) {
      problems.push_back({"lr.warmup.length", "needed by every warm-up but none; 5ep is Goyal's"});
    }
    if (options.scaling == ScalingRule::kNone &&
        options.warmup.start.kind == WarmupStart::Kind::kBase) {
      problems.push_back({"lr.warmup.start",
                          "base is the peak itself when lr.scaling is none, so nothing would warm "
                          "up; legal: `start: zero` or a number"});
    }
    const WarmupStart& start = options.warmup.start;
    if (options.warmup.kind == WarmupKind::kExponential && start.kind != WarmupStart::Kind::kBase &&
        start.number == 0) {
      problems.push_back({"lr.warmup.start",
                          "no factor leads from zero to the peak, which an exponential warm-up "
                          "needs; legal: base or a number > 0"});
    }
  }
  if (options.policy.kind == PolicyKind::kInverseSqrt && !options.policy.timescale &&
      options.warmup.kind == WarmupKind::kNone) {
    problems.push_back({"lr.policy.timescale", "needed by policy inverse_sqrt without a warm-up"});
  }
  check_policy("lr.policy", options.policy, problems);
  const double min_lr = options.policy.plateau.min_lr;
  if (options.policy.kind == PolicyKind::kPlateauReduce && options.base && min_lr > *options.base) {
    problems.push_back({"lr.policy.min_lr", concat(min_lr, " is above lr.base, which is ",
                                                   *options.base, "; legal: at most lr.base")});
  }
  if (options.policy.kind == PolicyKind::kPlateauChange) {
    check_levels("lr.policy", options.policy.plateau, options.base, problems);
  }
  return problems;
}

}  // namespace largo::optim
