#include "trainer/optim/adaptive_rules.h"
#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/one_pass.h"
#include "trainer/optim/optimizer_kinds.h"

namespace largo::optim {

namespace {

template <class Rule>
void apply(const Rule& rule, const ParameterGroup& group, at::TensorList gradients) {
  if (updates_in_one_pass(group.weights.front())) return update_in_one_pass(rule, group, gradients);
  update_by_operations(rule, group, gradients);
}

// With lr / (1 + (t - 1) * lr_decay) for lr.
class Adagrad final : public FlatOptimizer {
 public:
  Adagrad(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)),
        epsilon_(options.epsilon.value()),
        lr_decay_(options.lr_decay) {
    add_slot("sum_of_squares", options.initial_accumulator);
    steps_ = add_number("step", at::kDouble);
  }

 private:
  void begin_step(at::TensorList, const GroupRates&) override {
    divisor_ = 1 + steps_.item<double>() * lr_decay_;
    steps_.add_(1);
  }

  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    apply(AdagradRule{.lr = rates.lr / divisor_, .decay = rates.weight_decay, .epsilon = epsilon_},
          group, gradients);
  }

  double epsilon_, lr_decay_;
  double divisor_ = 1;  // of the learning rate in the present step
  at::Tensor steps_;
};

class Adadelta final : public FlatOptimizer {
 public:
  Adadelta(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)),
        epsilon_(options.epsilon.value()),
        rho_(options.rho) {
    add_slot("average_square");
    add_slot("average_square_step");
  }

 private:
  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    apply(
        AdadeltaRule{.lr = rates.lr, .decay = rates.weight_decay, .rho = rho_, .epsilon = epsilon_},
        group, gradients);
  }

  double epsilon_, rho_;
};

class Rmsprop final : public FlatOptimizer {
 public:
  Rmsprop(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)),
        epsilon_(options.epsilon.value()),
        alpha_(options.alpha),
        centered_(options.centered) {
    add_slot("average_square");
    if (centered_) add_slot("average");
    if (keeps_momentum()) add_slot("momentum");
  }

 private:
  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    apply(RmspropRule{.lr = rates.lr,
                      .decay = rates.weight_decay,
                      .m = rates.momentum,
                      .alpha = alpha_,
                      .epsilon = epsilon_,
                      .centered = centered_,
                      .has_momentum = keeps_momentum()},
          group, gradients);
  }

  double epsilon_, alpha_;
  bool centered_;
};

// A scheduled momentum is the step's b1.
class Lion final : public FlatOptimizer {
 public:
  Lion(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)), b2_(options.betas[1]) {
    add_slot("average");
  }

 private:
  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    apply(LionRule{.lr = rates.lr, .decay = rates.weight_decay, .b1 = rates.momentum, .b2 = b2_},
          group, gradients);
  }

  double b2_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adagrad(const OptimizerOptions& options,
                                        std::vector<Parameter> parameters) {
  return std::make_unique<Adagrad>(options, std::move(parameters));
}

std::unique_ptr<Optimizer> make_adadelta(const OptimizerOptions& options,
                                         std::vector<Parameter> parameters) {
  return std::make_unique<Adadelta>(options, std::move(parameters));
}

std::unique_ptr<Optimizer> make_rmsprop(const OptimizerOptions& options,
                                        std::vector<Parameter> parameters) {
  return std::make_unique<Rmsprop>(options, std::move(parameters));
}

std::unique_ptr<Optimizer> make_lion(const OptimizerOptions& options,
                                     std::vector<Parameter> parameters) {
  return std::make_unique<Lion>(options, std::move(parameters));
}

}  // namespace largo::optim
