#include "trainer/optim/optimizer_options.h"

#include <utility>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

constexpr size_t kBetas = 2;

bool has_betas(const std::string& kind) {
  return kind == "adam" || kind == "adamw" || kind == "lion" || kind == "lamb";
}

const std::vector<std::string>& kinds_with_momentum() {
  static const std::vector<std::string> kinds = {"sgd",   "lars", "rmsprop", "adam",
                                                 "adamw", "lion", "lamb"};
  return kinds;
}

AppliesTo only(std::vector<std::string> kinds) { return {"optimizer.kind", std::move(kinds)}; }

void declare_momentum(OptionTable& table, OptimizerOptions& options) {
  table.add("optimizer.momentum", options.momentum, at_least_below(0.0, 1.0),
            {.description = "u = momentum * u + gradient; 0.9, of rmsprop 0",
             .applies = only({"sgd", "lars", "rmsprop"})});
  table.add("optimizer.nesterov", options.nesterov, Range<bool>{},
            {.description = "step along gradient + momentum * u instead of u",
             .applies = only({"sgd", "lars"})});
  table.add("optimizer.dampening", options.dampening, at_least_below(0.0, 1.0),
            {.description = "u = momentum * u + (1 - dampening) * gradient after the first step",
             .applies = only({"sgd"})});
  table.add_choice<MomentumForm>(
      "optimizer.momentum_form", options.momentum_form,
      {{"outside", MomentumForm::kOutside}, {"absorbed", MomentumForm::kAbsorbed}},
      {.description = "outside: the learning rate multiplies u; absorbed: u sums up learning rate "
                      "* gradient, as in MLPerf's LARS",
       .applies = only({"sgd", "lars"})});
  table.add("optimizer.momentum_correction", options.momentum_correction, Range<bool>{},
            {.description = "absorbed form: momentum * new learning rate / old one",
             .applies = only({"sgd", "lars"})});
}

void declare_adaptive(OptionTable& table, OptimizerOptions& options) {
  table.add(
      "optimizer.betas", options.betas, at_least_below(0.0, 1.0),
      {.description = "decay of the averages of the gradient and of its square; lion: of the "
                      "gradient, for this step and the next; [0.9, 0.999], of lion [0.9, 0.99]",
       .applies = only({"adam", "adamw", "lion", "lamb"})});
  table.add("optimizer.epsilon", options.epsilon, at_least(0.0),
            {.description = "added to denominators; adam, adamw, rmsprop 1e-8, adagrad 1e-10, "
                            "adadelta, lamb 1e-6, lars 1e-8 outside and 0 absorbed",
             .applies = only({"adagrad", "adadelta", "rmsprop", "adam", "adamw", "lars", "lamb"})});
  table.add("optimizer.amsgrad", options.amsgrad, Range<bool>{},
            {.description = "divide by the largest average of squares so far",
             .applies = only({"adam", "adamw"})});
  table.add(
      "optimizer.lr_decay", options.lr_decay, at_least(0.0),
      {.description = "learning rate / (1 + steps done * lr_decay)", .applies = only({"adagrad"})});
  table.add("optimizer.initial_accumulator", options.initial_accumulator, at_least(0.0),
            {.description = "sum of squares before the first step", .applies = only({"adagrad"})});
  table.add("optimizer.alpha", options.alpha, at_least_below(0.0, 1.0),
            {.description = "decay of the average of squares", .applies = only({"rmsprop"})});
  table.add("optimizer.centered", options.centered, Range<bool>{},
            {.description = "divide by the standard deviation, not by the root of the mean square",
             .applies = only({"rmsprop"})});
  table.add("optimizer.rho", options.rho, at_least_below(0.0, 1.0),
            {.description = "decay of the averages of squares", .applies = only({"adadelta"})});
}

void declare_layerwise(OptionTable& table, OptimizerOptions& options) {
  table.add("optimizer.trust_coefficient", options.trust_coefficient, above(0.0),
            {.description = "of a weight's norm to its gradient's", .applies = only({"lars"})});
  table.add("optimizer.trust_clip", options.trust_clip, Range<bool>{},
            {.description = "a trust ratio of at most the learning rate, as LARC has it",
             .applies = only({"lars"})});
  table.add("optimizer.max_grad_norm", options.max_grad_norm, at_least(0.0),
            {.description = "gradients are scaled to this norm of all together if above; 0: never",
             .applies = only({"lamb"})});
  table.add("optimizer.bias_correction", options.bias_correction, Range<bool>{},
            {.description = "divide averages by 1 - beta^step", .applies = only({"lamb"})});
  table.add("optimizer.always_adapt", options.always_adapt, Range<bool>{},
            {.description = "trust ratio also for what has no weight decay (NVLAMB)",
             .applies = only({"lamb"})});
}

double default_epsilon(const OptimizerOptions& options) {
  if (options.kind == "adagrad") return 1e-10;
  if (options.kind == "adadelta" || options.kind == "lamb") return 1e-6;
  if (options.kind == "lars" && options.momentum_form == MomentumForm::kAbsorbed) return 0;
  return 1e-8;
}

}  // namespace

void declare_options(OptionTable& table, OptimizerOptions& options) {
  table.add_choice<std::string>("optimizer.kind", options.kind,
                                {{"sgd", "sgd"},
                                 {"adagrad", "adagrad"},
                                 {"adadelta", "adadelta"},
                                 {"rmsprop", "rmsprop"},
                                 {"adam", "adam"},
                                 {"adamw", "adamw"},
                                 {"lion", "lion"},
                                 {"lars", "lars"},
                                 {"lamb", "lamb"}},
                                {.description = "update rule"});
  declare_momentum(table, options);
  table.add("optimizer.weight_decay", options.weight_decay, at_least(0.0),
            {.description = "times the weight, added to its gradient; adamw, lion: times the "
                            "learning rate, subtracted from it; lamb: added to the update; 0, of "
                            "adamw and lamb 0.01"});
  table.add("optimizer.decay_norm_and_bias", options.decay_norm_and_bias, Range<bool>{},
            {.description = "whether weight decay, and the trust ratio of lars and lamb, includes "
                            "biases and norm layers"});
  declare_adaptive(table, options);
  declare_layerwise(table, options);
  declare_rate_schedule(table, "optimizer.momentum_schedule", "momentum", kinds_with_momentum(),
                        options.momentum_schedule);
  declare_rate_schedule(table, "optimizer.weight_decay_schedule", "weight decay", {},
                        options.weight_decay_schedule);
  declare_groups(table, options.groups);
}

double base_momentum(const OptimizerOptions& options) {
  return options.betas.empty() ? options.momentum.value_or(0) : options.betas.front();
}

OptimizerOptions with_defaults(OptimizerOptions options) {
  const std::string& kind = options.kind;
  if (!options.momentum && uses_base(options.momentum_schedule.policy) &&
      (kind == "sgd" || kind == "lars" || kind == "rmsprop")) {
    options.momentum = kind == "rmsprop" ? 0 : 0.9;
  }
  if (!options.weight_decay && uses_base(options.weight_decay_schedule.policy)) {
    options.weight_decay = kind == "adamw" || kind == "lamb" ? 0.01 : 0;
  }
  if (options.betas.empty() && has_betas(kind)) {
    options.betas = {0.9, kind == "lion" ? 0.99 : 0.999};
  }
  if (!options.epsilon && kind != "sgd" && kind != "lion") {
    options.epsilon = default_epsilon(options);
  }
  return options;
}

std::vector<OptionProblem> check(const OptimizerOptions& given) {
  const OptimizerOptions options = with_defaults(given);
  std::vector<OptionProblem> problems;
  const bool with_momentum =
      options.momentum.value_or(0) > 0 || is_scheduled(options.momentum_schedule);
  if (options.nesterov && !with_momentum) {
    problems.push_back({"optimizer.nesterov", "needs optimizer.momentum > 0, which is 0"});
  }
  if (options.nesterov && options.dampening > 0) {
    problems.push_back({"optimizer.nesterov", "needs optimizer.dampening: 0"});
  }
  if (options.momentum_form == MomentumForm::kAbsorbed && options.dampening > 0) {
    problems.push_back({"optimizer.dampening", "goes with optimizer.momentum_form outside only"});
  }
  if (options.momentum_correction && options.momentum_form != MomentumForm::kAbsorbed) {
    problems.push_back({"optimizer.momentum_correction",
                        "needs optimizer.momentum_form: absorbed; with the learning rate outside "
                        "there is nothing to correct"});
  }
  if (has_betas(options.kind) && options.betas.size() != kBetas) {
    problems.push_back({"optimizer.betas", concat("has ", options.betas.size(),
                                                  " numbers; legal: two, such as [0.9, 0.999]")});
  }
  check_rate_schedule("optimizer.momentum", options.momentum, options.momentum_schedule, problems);
  check_rate_schedule("optimizer.weight_decay", options.weight_decay, options.weight_decay_schedule,
                      problems);
  const std::vector<OptionProblem> of_groups = check(options.groups);
  problems.insert(problems.end(), of_groups.begin(), of_groups.end());
  return problems;
}

}  // namespace largo::optim
