#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/momentum.h"
#include "trainer/optim/one_pass.h"
#include "trainer/optim/optimizer_kinds.h"
#include "trainer/optim/tensor_norms.h"

namespace largo::optim {

namespace {

// Multiplies tensor i by factors[i]. The factors stay on the device.
void scale_each(at::TensorList tensors, const at::Tensor& factors) {
  at::_foreach_mul_(tensors, factors.to(tensors.front().scalar_type()).unbind());
}

// `ratio` where both norms are above 0, else 1: a weight or gradient of zeros has no scale.
at::Tensor where_positive(const at::Tensor& a, const at::Tensor& b, const at::Tensor& ratio) {
  return at::where((a > 0).logical_and_(b > 0), ratio, at::ones_like(ratio));
}

// trust = coefficient * |w| / (|g| + decay * |w| + epsilon) of each tensor,
// x = trust * (g + decay * w), then momentum. Exempt tensors have x = g. With the momentum form
// outside this is timm's LARS, with absorbed MLPerf's and with its correction NVIDIA's. A group's
// factor is in lr, as in timm's and PyTorch's groups, and so has no part in the ratio unless that
// is clipped.
class Lars final : public FlatOptimizer {
 public:
  Lars(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)),
        coefficient_(options.trust_coefficient),
        epsilon_(options.epsilon.value()),
        clip_(options.trust_clip),
        momentum_({.nesterov = options.nesterov,
                   .form = options.momentum_form,
                   .correction = options.momentum_correction}) {
    if (keeps_momentum()) add_slot("momentum");
    if (momentum_.correction) last_lr_ = add_number("last_lr", at::kDouble);
  }

 private:
  void begin_step(at::TensorList, const GroupRates& rates) override {
    m_ = plain_momentum(rates.momentum);
    if (!last_lr_.defined()) return;
    m_ = absorbed_momentum(momentum_, rates.momentum, rates.lr, last_lr_.item<double>());
    last_lr_.fill_(rates.lr);
  }

  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    if (updates_in_one_pass(group.weights.front())) return update_here(group, gradients, rates);
    std::vector<at::Tensor> updates = gradients.vec();
    if (!group.exempt) {
      updates = at::_foreach_add(gradients, group.weights, rates.weight_decay);
      scale_each(updates, trust(group, gradients, rates));
    }
    momentum_update(momentum_, m_, rates.lr, group.weights, updates,
                    keeps_momentum() ? at::TensorList(group.slots[0]) : at::TensorList());
  }

  // Tensor by tensor: what the norms were taken of stays in a cache where it fits into one.
  void update_here(const ParameterGroup& group, at::TensorList gradients,
                   const GroupRates& rates) const {
    for (size_t i = 0; i < group.weights.size(); ++i) {
      MomentumPass pass = {.m = m_, .lr = rates.lr};
      if (!group.exempt) {
        pass.trust = trust_of(host_norm(group.weights[i]), host_norm(gradients[i]), rates);
        pass.decay = rates.weight_decay;
      }
      momentum_in_one_pass(momentum_, pass, group.weights[i], gradients[i],
                           keeps_momentum() ? group.slots[0][i] : at::Tensor());
    }
  }

  double trust_of(double weight_norm, double grad_norm, const GroupRates& rates) const {
    const double ratio =
        weight_norm * coefficient_ / (grad_norm + weight_norm * rates.weight_decay + epsilon_);
    const double trust = weight_norm > 0 && grad_norm > 0 ? ratio : 1;
    return clip_ ? std::min(trust / rates.lr, 1.0) : trust;
  }

  // The same on the tensors' device, of each of them.
  at::Tensor trust(const ParameterGroup& group, at::TensorList gradients,
                   const GroupRates& rates) const {
    const at::Tensor weight_norms = tensor_norms(group.weights);
    const at::Tensor grad_norms = tensor_norms(gradients);
    const at::Tensor ratio =
        weight_norms * coefficient_ / (grad_norms + weight_norms * rates.weight_decay + epsilon_);
    const at::Tensor trust = where_positive(weight_norms, grad_norms, ratio);
    return clip_ ? (trust / rates.lr).clamp_max_(1) : trust;
  }

  double coefficient_, epsilon_;
  bool clip_;
  MomentumOptions momentum_;
  StepMomentum m_;      // of the present step
  at::Tensor last_lr_;  // kept only for the correction
};

// g /= max(1, |all g| / max_grad_norm); m and v as Adam's; u = m' / (sqrt(v') + epsilon) +
// decay * w; w -= lr * |w| / |u| * u, the ratio only where there is decay (at some steps, if it is
// scheduled) unless always_adapt. A scheduled momentum is the step's b1, in b1^t too.
class Lamb final : public FlatOptimizer {
 public:
  Lamb(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)), options_(options) {
    add_slot("average");
    add_slot("average_square");
    steps_ = add_number("step", at::kDouble);
  }

 private:
  void begin_step(at::TensorList gradients, const GroupRates& rates) override {
    steps_.add_(1);
    if (options_.bias_correction) {
      const double steps = steps_.item<double>();
      correction1_ = 1 - std::pow(rates.momentum, steps);
      correction2_ = 1 - std::pow(options_.betas[1], steps);
    }
    if (options_.max_grad_norm > 0 && !gradients.empty()) {
      divisor_ = (grad_norm({gradients.data(), gradients.size()}) / options_.max_grad_norm)
                     .clamp_min_(1)
                     .to(gradients.front().scalar_type());
    }
  }

  void update(const ParameterGroup& group, at::TensorList raw, const GroupRates& rates) override {
    const auto [lr, b1, decay] = rates;
    const double b2 = options_.betas[1];
    if (updates_in_one_pass(group.weights.front())) return update_here(group, raw, rates);
    const std::vector<at::Tensor> gradients =
        divisor_.defined() ? at::_foreach_div(raw, divisor_) : raw.vec();
    at::_foreach_mul_(group.slots[0], b1);
    at::_foreach_add_(group.slots[0], gradients, 1 - b1);
    at::_foreach_mul_(group.slots[1], b2);
    at::_foreach_addcmul_(group.slots[1], gradients, gradients, 1 - b2);

    const std::vector<at::Tensor> roots = at::_foreach_sqrt(group.slots[1]);
    at::_foreach_div_(roots, std::sqrt(correction2_));
    at::_foreach_add_(roots, options_.epsilon.value());
    const std::vector<at::Tensor> updates = at::_foreach_div(group.slots[0], correction1_);
    at::_foreach_div_(updates, roots);
    if (decay > 0) at::_foreach_add_(updates, group.weights, decay);
    if (group.decays || options_.always_adapt) {
      const at::Tensor weight_norms = tensor_norms(group.weights);
      const at::Tensor norms = tensor_norms(updates);
      scale_each(updates, where_positive(weight_norms, norms, weight_norms / norms));
    }
    at::_foreach_add_(group.weights, updates, -lr);
  }

  // Tensor by tensor: what is between the two passes stays in a cache where it fits into one.
  void update_here(const ParameterGroup& group, at::TensorList gradients,
                   const GroupRates& rates) const {
    const LambPass pass = {.divisor = divisor_.defined() ? divisor_.item<double>() : 1,
                           .b1 = rates.momentum,
                           .b2 = options_.betas[1],
                           .correction1 = correction1_,
                           .correction2 = correction2_,
                           .epsilon = options_.epsilon.value(),
                           .decay = rates.weight_decay};
    for (size_t i = 0; i < group.weights.size(); ++i) {
      const at::Tensor& weight = group.weights[i];
      const at::Tensor update = at::empty_like(weight);
      const LambNorms norms = lamb_in_one_pass(pass, weight, gradients[i], group.slots[0][i],
                                               group.slots[1][i], update);
      const bool adapts = group.decays || options_.always_adapt;
      const bool has_scale = norms.weight > 0 && norms.update > 0;
      const double ratio = adapts && has_scale ? norms.weight / norms.update : 1;
      momentum_in_one_pass({}, {.trust = ratio, .lr = rates.lr}, weight, update, {});
    }
  }

  OptimizerOptions options_;
  double correction1_ = 1, correction2_ = 1;  // of the averages in the present step
  at::Tensor divisor_;                        // of the gradients; not defined: 1
  at::Tensor steps_;
};

}  // namespace

std::unique_ptr<Optimizer> make_lars(const OptimizerOptions& options,
                                     std::vector<Parameter> parameters) {
  return std::make_unique<Lars>(options, std::move(parameters));
}

std::unique_ptr<Optimizer> make_lamb(const OptimizerOptions& options,
                                     std::vector<Parameter> parameters) {
  return std::make_unique<Lamb>(options, std::move(parameters));
}

}  // namespace largo::optim
