#include "trainer/optim/scaling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

constexpr const char* kScaling = "lr.scaling";

// 1 - k (1 - b) of a whole k that reaches 0 may come out a hair above it.
constexpr double kLeastDecay = 1e-9;

double scaled_decay(double decay, double k) { return 1 - k * (1 - decay); }

// The decays that adam_sqrt scales, with the names of their keys.
std::vector<std::pair<std::string, double>> decays(const OptimizerOptions& optimizer) {
  if (optimizer.kind == "rmsprop") return {{"alpha", optimizer.alpha}};
  return {{"the first of betas", optimizer.betas.at(0)},
          {"the second of betas", optimizer.betas.at(1)}};
}

void check_legw(const LrOptions& options, std::vector<OptionProblem>& problems) {
  if (options.warmup.kind != WarmupKind::kGradual) {
    problems.push_back({kScaling,
                        "legw is the square root together with a gradual warm-up that grows with "
                        "the batch; legal: lr.warmup.kind: gradual, or scaling: sqrt"});
  } else if (options.warmup.start.kind != WarmupStart::Kind::kZero) {
    problems.push_back(
        {"lr.warmup.start", "legw warms up from zero; legal: `start: zero`, or scaling: sqrt"});
  }
}

void check_adam_sqrt(const OptimizerOptions& optimizer, std::vector<OptionProblem>& problems) {
  const std::string& kind = optimizer.kind;
  if (kind != "adam" && kind != "adamw" && kind != "rmsprop") {
    problems.push_back(
        {kScaling, concat("adam_sqrt is a rule for optimizer adam, adamw and rmsprop; here "
                          "optimizer.kind is ",
                          kind)});
  } else if (is_scheduled(optimizer.momentum_schedule)) {
    problems.push_back({kScaling,
                        "adam_sqrt scales the betas, whose first optimizer.momentum_schedule sets; "
                        "legal: one of the two"});
  } else if (kind == "rmsprop" && (optimizer.momentum.value_or(0) > 0 || optimizer.centered)) {
    problems.push_back(
        {kScaling,
         "adam_sqrt does not say what becomes of rmsprop's momentum and of centered; legal: "
         "momentum: 0 and centered: false"});
  }
}

void check_adascale(const LrOptions& options, const OptimizerOptions& optimizer,
                    std::vector<OptionProblem>& problems) {
  if (optimizer.kind != "sgd") {
    problems.push_back(
        {kScaling, concat("adascale's gain is derived for optimizer sgd; here optimizer.kind is ",
                          optimizer.kind)});
  }
  if (optimizer.momentum_form == MomentumForm::kAbsorbed && !optimizer.momentum_correction) {
    problems.push_back({kScaling,
                        "adascale changes the learning rate at every step, which absorbed momentum "
                        "without momentum_correction does not follow; legal: momentum_form: "
                        "outside, or momentum_correction: true"});
  }
  if (is_plateau(options.policy.kind)) {
    problems.push_back(
        {"lr.policy.kind", concat(word_of(options.policy.kind),
                                  " goes without adascale, which has a schedule to follow")});
  }
  if (options.warmup.kind != WarmupKind::kNone) {
    problems.push_back({"lr.warmup.kind",
                        "goes without adascale, whose gain starts small by itself; legal: none"});
  }
}

}  // namespace

std::string word_of(ScalingRule rule) {
  constexpr std::array<const char*, 6> kWords = {"none", "linear",    "sqrt",
                                                 "legw", "adam_sqrt", "adascale"};
  return kWords.at(static_cast<size_t>(rule));
}

double batch_factor(const LrOptions& options, int64_t global_batch) {
  if (!options.base_batch) return 1;
  return static_cast<double>(global_batch) / static_cast<double>(*options.base_batch);
}

double lr_factor(const LrOptions& options, int64_t global_batch) {
  switch (options.scaling) {
    case ScalingRule::kNone:
    case ScalingRule::kAdaScale:
      return 1;
    case ScalingRule::kLinear:
      return batch_factor(options, global_batch);
    case ScalingRule::kSqrt:
    case ScalingRule::kLegw:
    case ScalingRule::kAdamSqrt:
      break;
  }
  return std::sqrt(batch_factor(options, global_batch));
}

Duration scaled_warmup(const LrOptions& options, int64_t global_batch) {
  LARGO_CHECK(options.warmup.length.has_value(), "lr.warmup.length is missing");
  Duration length = *options.warmup.length;
  if (options.scaling == ScalingRule::kLegw && length.unit != Duration::Unit::kSteps) {
    length.amount *= batch_factor(options, global_batch);
  }
  return length;
}

std::vector<OptionProblem> check_scaling(const LrOptions& options, const OptimizerOptions& given) {
  const OptimizerOptions optimizer = with_defaults(given);
  std::vector<OptionProblem> problems;
  if (options.scaling == ScalingRule::kLegw) check_legw(options, problems);
  if (options.scaling == ScalingRule::kAdamSqrt) check_adam_sqrt(optimizer, problems);
  if (options.scaling == ScalingRule::kAdaScale) check_adascale(options, optimizer, problems);
  return problems;
}

std::vector<OptionProblem> check_scaling(const LrOptions& options, const OptimizerOptions& given,
                                         int64_t global_batch) {
  const OptimizerOptions optimizer = with_defaults(given);
  const double k = batch_factor(options, global_batch);
  if (options.scaling == ScalingRule::kAdaScale && k < 1) {
    return {{kScaling, concat("adascale carries a schedule to larger batches; the global batch is ",
                              global_batch, ", lr.base_batch ", *options.base_batch,
                              "; legal: a global batch of at least lr.base_batch")}};
  }
  if (options.scaling != ScalingRule::kAdamSqrt || k <= 1) return {};
  const auto scaled = decays(optimizer);
  const auto least =
      std::min_element(scaled.begin(), scaled.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (scaled_decay(least->second, k) > kLeastDecay) return {};
  const auto above_largest = static_cast<int64_t>(std::ceil(
      static_cast<double>(*options.base_batch) * (1 - kLeastDecay) / (1 - least->second)));
  const int64_t largest = std::max(above_largest - 1, *options.base_batch);
  return {{kScaling,
           concat("adam_sqrt takes ", least->first, ", ", least->second, ", to 1 - ", k, " × ",
                  1 - least->second, " = ", scaled_decay(least->second, k),
                  ", which averages over nothing; the largest legal global batch is ", largest,
                  " (lr.base_batch ", *options.base_batch, "), here it is ", global_batch)}};
}

OptimizerOptions scaled_for_batch(OptimizerOptions optimizer, const LrOptions& options,
                                  int64_t global_batch) {
  if (options.scaling != ScalingRule::kAdamSqrt) return optimizer;
  optimizer = with_defaults(std::move(optimizer));
  const double k = batch_factor(options, global_batch);
  for (double& beta : optimizer.betas) beta = scaled_decay(beta, k);
  if (optimizer.kind == "rmsprop") optimizer.alpha = scaled_decay(optimizer.alpha, k);
  optimizer.epsilon = *optimizer.epsilon / std::sqrt(k);
  return optimizer;
}

std::string describe_scaled_optimizer(const OptimizerOptions& optimizer, const LrOptions& options,
                                      int64_t global_batch) {
  if (options.scaling != ScalingRule::kAdamSqrt) return {};
  const OptimizerOptions before = with_defaults(optimizer);
  const OptimizerOptions after = scaled_for_batch(optimizer, options, global_batch);
  const std::string epsilon = concat(", epsilon ", *before.epsilon, " -> ", *after.epsilon);
  if (before.kind == "rmsprop") {
    return concat("alpha ", before.alpha, " -> ", after.alpha, epsilon);
  }
  return concat("betas ", before.betas[0], ", ", before.betas[1], " -> ", after.betas[0], ", ",
                after.betas[1], epsilon);
}

}  // namespace largo::optim
