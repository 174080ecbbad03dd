#include <ATen/ATen.h>

#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/optimizer_kinds.h"

namespace largo::optim {

namespace {

// PyTorch's: m and v are averages of g and g^2 from 0,
// w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon). Adam adds decay * w to g, AdamW
// multiplies w by 1 - lr * decay first. AMSGrad takes the largest v so far. A scheduled momentum is
// the step's b1, in b1^t too.
class Adam final : public FlatOptimizer {
 public:
  Adam(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : FlatOptimizer(options, std::move(parameters)), options_(options) {
    add_slot("average");
    add_slot("average_square");
    if (options.amsgrad) add_slot("largest_square");
    // Where the kernels read it; in float32 they count to 2^24 steps.
    step_ = add_number("step", at::TensorOptions(at::kFloat).device(device()));
  }

 private:
  void begin_step(at::TensorList, const GroupRates&) override { step_.add_(1); }

  void update(const ParameterGroup& group, at::TensorList gradients,
              const GroupRates& rates) override {
    const std::vector<at::Tensor> steps(gradients.size(), step_);  // which the kernels only read
    const auto largest = options_.amsgrad ? at::TensorList(group.slots[2]) : at::TensorList();
    const double b1 = rates.momentum;
    const double b2 = options_.betas[1];
    if (options_.kind == "adamw") {
      at::_fused_adamw_(group.weights, gradients, group.slots[0], group.slots[1], largest, steps,
                        rates.lr, b1, b2, rates.weight_decay, options_.epsilon.value(),
                        options_.amsgrad,
                        /*maximize=*/false);
    } else {
      at::_fused_adam_(group.weights, gradients, group.slots[0], group.slots[1], largest, steps,
                       rates.lr, b1, b2, rates.weight_decay, options_.epsilon.value(),
                       options_.amsgrad,
                       /*maximize=*/false);
    }
  }

  OptimizerOptions options_;
  at::Tensor step_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adam(const OptimizerOptions& options,
                                     std::vector<Parameter> parameters) {
  return std::make_unique<Adam>(options, std::move(parameters));
}

}  // namespace largo::optim
