#include <ATen/ATen.h>

#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/momentum.h"
#include "trainer/optim/optimizer_kinds.h"

namespace largo::optim {

namespace {

// PyTorch's form: g' = g + decay * w, u = m * u + (1 - dampening) * g', d = u (Nesterov:
// g' + m * u), w -= lr * d. A buffer u of zeros gives PyTorch's first step, u = g', unless there is
// dampening, which that step leaves out.
class Sgd final : public FlatOptimizer {
 public:
  Sgd(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)),
        momentum_(options.momentum.value()),
        dampening_(options.dampening),
        nesterov_(options.nesterov) {
    if (momentum_ > 0) add_slot("momentum");
    if (dampening_ > 0) steps_ = add_number("step", at::kDouble);
  }

 private:
  void begin_step(at::TensorList, double) override {
    if (!steps_.defined()) return;
    is_first_ = steps_.item<double>() == 0;
    steps_.add_(1);
  }

  void update(const ParameterGroup& group, at::TensorList gradients, double lr) override {
    at::_fused_sgd_(
        group.weights, gradients, momentum_ > 0 ? at::TensorList(group.slots[0]) : at::TensorList(),
        group.weight_decay, momentum_, lr, dampening_, nesterov_, /*maximize=*/false, is_first_);
  }

  double momentum_, dampening_;
  bool nesterov_;
  bool is_first_ = false;
  at::Tensor steps_;  // counted only for dampening
};

// The learning rate inside the buffer: v = m * v + lr * g', w -= v.
class AbsorbedSgd final : public FlatOptimizer {
 public:
  AbsorbedSgd(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)),
        options_({.momentum = options.momentum.value(),
                  .nesterov = options.nesterov,
                  .form = MomentumForm::kAbsorbed,
                  .correction = options.momentum_correction}) {
    add_slot("momentum");
    last_lr_ = add_number("last_lr", at::kDouble);
  }

 private:
  void begin_step(at::TensorList, double lr) override {
    m_ = absorbed_momentum(options_, lr, last_lr_.item<double>());
    last_lr_.fill_(lr);
  }

  void update(const ParameterGroup& group, at::TensorList gradients, double lr) override {
    momentum_update(options_, m_, lr, group.weights, with_decay(gradients, group), group.slots[0]);
  }

  MomentumOptions options_;
  double m_ = 0;  // of the present step
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
