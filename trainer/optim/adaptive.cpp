#include <ATen/ATen.h>

#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/optimizer_kinds.h"

namespace largo::optim {

namespace {

// average = decay * average + (1 - decay) * x * y
void average_product(at::TensorList averages, at::TensorList x, at::TensorList y, double decay) {
  at::_foreach_mul_(averages, decay);
  at::_foreach_addcmul_(averages, x, y, 1 - decay);
}

// PyTorch's: s += g'^2, w -= lr / (1 + (t - 1) * lr_decay) * g' / (sqrt(s) + epsilon).
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
    const std::vector<at::Tensor> decayed = with_decay(gradients, group, rates.weight_decay);
    at::_foreach_addcmul_(group.slots[0], decayed, decayed);
    const std::vector<at::Tensor> roots = at::_foreach_sqrt(group.slots[0]);
    at::_foreach_add_(roots, epsilon_);
    at::_foreach_addcdiv_(group.weights, decayed, roots, -rates.lr / divisor_);
  }

  double epsilon_, lr_decay_;
  double divisor_ = 1;  // of the learning rate in the present step
  at::Tensor steps_;
};

// PyTorch's: v = rho * v + (1 - rho) * g'^2, d = sqrt(a + epsilon) / sqrt(v + epsilon) * g',
// a = rho * a + (1 - rho) * d^2, w -= lr * d.
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
    const std::vector<at::Tensor> decayed = with_decay(gradients, group, rates.weight_decay);
    average_product(group.slots[0], decayed, decayed, rho_);
    std::vector<at::Tensor> steps = at::_foreach_add(group.slots[1], epsilon_);
    at::_foreach_sqrt_(steps);
    std::vector<at::Tensor> roots = at::_foreach_add(group.slots[0], epsilon_);
    at::_foreach_sqrt_(roots);
    at::_foreach_div_(steps, roots);
    at::_foreach_mul_(steps, decayed);
    average_product(group.slots[1], steps, steps, rho_);
    at::_foreach_add_(group.weights, steps, -rates.lr);
  }

  double epsilon_, rho_;
};

// PyTorch's, with epsilon outside of the root: v = alpha * v + (1 - alpha) * g'^2,
// x = g' / (sqrt(v) + epsilon), b = m * b + x, w -= lr * b; centered: v less the square of the
// average of g'.
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
    const std::vector<at::Tensor> decayed = with_decay(gradients, group, rates.weight_decay);
    average_product(group.slots[0], decayed, decayed, alpha_);
    std::vector<at::Tensor> roots;
    if (centered_) {
      at::_foreach_mul_(group.slots[1], alpha_);
      at::_foreach_add_(group.slots[1], decayed, 1 - alpha_);
      roots = at::_foreach_addcmul(group.slots[0], group.slots[1], group.slots[1], -1);
      at::_foreach_clamp_min_(roots, 0);  // rounding may leave a variance below 0
      at::_foreach_sqrt_(roots);
    } else {
      roots = at::_foreach_sqrt(group.slots[0]);
    }
    at::_foreach_add_(roots, epsilon_);
    if (keeps_momentum()) {
      at::_foreach_mul_(group.slots.back(), rates.momentum);
      at::_foreach_addcdiv_(group.slots.back(), decayed, roots);
      at::_foreach_add_(group.weights, group.slots.back(), -rates.lr);
    } else {
      at::_foreach_addcdiv_(group.weights, decayed, roots, -rates.lr);
    }
  }

  double epsilon_, alpha_;
  bool centered_;
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

}  // namespace largo::optim
