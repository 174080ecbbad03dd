#include <ATen/ATen.h>

#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/momentum.h"
#include "trainer/optim/one_pass.h"
#include "trainer/optim/optimizer_kinds.h"

namespace largo::optim {

namespace {

// PyTorch's form: g' = g + decay * w, u = m * u + (1 - dampening) * g', d = u (Nesterov:
// g' + m * u), w -= lr * d. A buffer u of zeros gives PyTorch's first step, u = g', unless there is
// dampening, which that step leaves out. A scheduled m of 0 leaves u = (1 - dampening) * g'.
class Sgd final : public FlatOptimizer {
 public:
  Sgd(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)),
        dampening_(options.dampening),
        nesterov_(options.nesterov) {
    if (keeps_momentum()) add_slot("momentum");
    if (dampening_ > 0) steps_ = add_number("step", at::kDouble);
  }

 private:
  void begin_step(at::TensorList, const GroupRates&) override {
    if (!steps_.defined()) return;
    is_first_ = steps_.item<double>() == 0;
    steps_.add_(1);
  }

  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    if (keeps_momentum() && rates.momentum == 0) return update_without(group, gradients, rates);
    at::_fused_sgd_(group.weights, gradients,
                    keeps_momentum() ? at::TensorList(group.slots[0]) : at::TensorList(),
                    rates.weight_decay, rates.momentum, rates.lr, dampening_, nesterov_,
                    /*maximize=*/false, is_first_);
  }

  // The fused kernel would leave the buffers as they are.
  void update_without(const ParameterGroup& group, at::TensorList gradients,
                      const GroupRates& rates) const {
    const double share = is_first_ ? 1 : 1 - dampening_;
    if (updates_in_one_pass(group.weights.front())) {
      for (size_t i = 0; i < group.weights.size(); ++i) {
        momentum_in_one_pass({}, {.trust = share, .decay = rates.weight_decay, .lr = rates.lr},
                             group.weights[i], gradients[i], group.slots[0][i]);
      }
      return;
    }
    const std::vector<at::Tensor> decayed = with_decay(gradients, group, rates.weight_decay);
    at::_foreach_copy_(group.slots[0], decayed);
    if (share != 1) at::_foreach_mul_(group.slots[0], share);
    at::_foreach_add_(group.weights, group.slots[0], -rates.lr);
  }

  double dampening_;
  bool nesterov_;
  bool is_first_ = false;
  at::Tensor steps_;  // counted only for dampening
};

// The learning rate inside the buffer: v = m * v + lr * g', w -= v.
class AbsorbedSgd final : public FlatOptimizer {
 public:
  AbsorbedSgd(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)),
        options_({.nesterov = options.nesterov,
                  .form = MomentumForm::kAbsorbed,
                  .correction = options.momentum_correction}) {
    add_slot("momentum");
    last_lr_ = add_number("last_lr", at::kDouble);
  }

 private:
  // A group's factor is the same in both learning rates and leaves their ratio alone.
  void begin_step(at::TensorList, const GroupRates& rates) override {
    m_ = absorbed_momentum(options_, rates.momentum, rates.lr, last_lr_.item<double>());
    last_lr_.fill_(rates.lr);
  }

  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    const bool keeps = keeps_momentum();
    if (updates_in_one_pass(group.weights.front())) {
      for (size_t i = 0; i < group.weights.size(); ++i) {
        momentum_in_one_pass(options_, {.decay = rates.weight_decay, .m = m_, .lr = rates.lr},
                             group.weights[i], gradients[i],
                             keeps ? group.slots[0][i] : at::Tensor());
      }
      return;
    }
    momentum_update(options_, m_, rates.lr, group.weights,
                    with_decay(gradients, group, rates.weight_decay),
                    keeps ? at::TensorList(group.slots[0]) : at::TensorList());
  }

  MomentumOptions options_;
  StepMomentum m_;  // of the present step
  at::Tensor last_lr_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& options,
                                    std::vector<Parameter> parameters) {
  if (options.momentum_form == MomentumForm::kAbsorbed) {
    return std::make_unique<AbsorbedSgd>(options, std::move(parameters));
  }
  return std::make_unique<Sgd>(options, std::move(parameters));
}

}  // namespace largo::optim
