#include <ATen/ATen.h>

#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/optimizer_kinds.h"

namespace largo::optim {

namespace {

// w *= 1 - lr * decay; w -= lr * sign(b1 * m + (1 - b1) * g); then m = b2 * m + (1 - b2) * g. A
// scheduled momentum is the step's b1.
class Lion final : public FlatOptimizer {
 public:
  Lion(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)), b2_(options.betas[1]) {
    add_slot("average");
  }

 private:
  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    const auto [lr, b1, decay] = rates;
    if (decay > 0) at::_foreach_mul_(group.weights, 1 - lr * decay);
    const std::vector<at::Tensor> signs = at::_foreach_mul(group.slots[0], b1);
    at::_foreach_add_(signs, gradients, 1 - b1);
    at::_foreach_sign_(signs);
    at::_foreach_add_(group.weights, signs, -lr);
    at::_foreach_mul_(group.slots[0], b2_);
    at::_foreach_add_(group.slots[0], gradients, 1 - b2_);
  }

  double b2_;
};

}  // namespace

std::unique_ptr<Optimizer> make_lion(const OptimizerOptions& options,
                                     std::vector<Parameter> parameters) {
  return std::make_unique<Lion>(options, std::move(parameters));
}

}  // namespace largo::optim
