// Options of the optimizers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/optim/parameter_groups.h"
#include "trainer/optim/rate_schedules.h"

namespace largo::optim {

// Where the learning rate stands: outside of the momentum buffer, u = m * u + g, w -= lr * u, or
// absorbed in it, v = m * v + lr * g, w -= v. The two differ as soon as the learning rate changes.
enum class MomentumForm { kOutside, kAbsorbed };

// What is empty has its kind's default (with_defaults). Formulas: at each optimizer.
struct OptimizerOptions {
  std::string kind = "sgd";
  std::optional<double> momentum = {};                  // sgd, lars, rmsprop
  bool nesterov = false;                                // sgd, lars
  std::optional<double> weight_decay = {};              // all
  bool decay_norm_and_bias = false;                     // all
  double dampening = 0;                                 // sgd
  MomentumForm momentum_form = MomentumForm::kOutside;  // sgd, lars
  bool momentum_correction = false;                     // sgd, lars
  std::vector<double> betas = {};                       // adam, adamw, lion, lamb
  std::optional<double> epsilon = {};                   // all but sgd, lion
  bool amsgrad = false;                                 // adam, adamw
  double lr_decay = 0;                                  // adagrad
  double initial_accumulator = 0;                       // adagrad
  double alpha = 0.99;                                  // rmsprop
  bool centered = false;                                // rmsprop
  double rho = 0.9;                                     // adadelta
  double trust_coefficient = 0.001;                     // lars
  bool trust_clip = false;                              // lars
  double max_grad_norm = 1;                             // lamb; 0: none
  bool bias_correction = true;                          // lamb
  bool always_adapt = false;                            // lamb
  RateScheduleOptions momentum_schedule = {};           // those with momentum or betas
  RateScheduleOptions weight_decay_schedule = {};       // all
  std::vector<GroupOptions> groups = {};                // all
};

// What a schedule of momentum works on: momentum, or the first of the betas. 0 without either.
double base_momentum(const OptimizerOptions& options);

void declare_options(OptionTable& table, OptimizerOptions& options);  // optimizer.*

// The same with every empty field filled that means something to the kind, and to its schedule: the
// cyclic ones have levels of their own.
OptimizerOptions with_defaults(OptimizerOptions options);

std::vector<OptionProblem> check(const OptimizerOptions& options);

}  // namespace largo::optim
