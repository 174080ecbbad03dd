// Optimizers: one update of all parameters from their gradients.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "trainer/optim/optimizer_options.h"
#include "trainer/optim/rates.h"

namespace largo::optim {

struct Parameter {
  std::string name;
  at::Tensor tensor;
  bool norm_or_bias = false;  // no weight decay unless optimizer.decay_norm_and_bias
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // One update. Gradients come in the parameters' order, with their shapes, dtypes and layouts in
  // memory (a channels_last weight has a channels_last gradient), and are not modified. A group's
  // parameters have lr * lr_factor. A scheduled momentum is that of sgd, lars and rmsprop, and the
  // first beta of adam, adamw, lion and lamb; one that is 0 for a while makes the state of that
  // formula, so momentum may come back.
  virtual void step(std::span<const at::Tensor> gradients, const Rates& rates) = 0;

  // What a checkpoint must hold, in a fixed order; writing into the tensors sets the state.
  virtual std::vector<std::pair<std::string, at::Tensor>> state() = 0;
};

// Moves the parameters into one flat tensor: each `tensor` becomes a view of it with the sizes and
// strides that it had. So the model must neither replace its parameters' storage afterwards (as by
// moving to another device) nor hold expanded ones. All have one dtype and device. Throws
// OptionError for a group of the options that matches none of them.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options,
                                          std::vector<Parameter> parameters);

// Euclidean norm of all gradients together, summed up in double precision: a tensor of no
// dimensions on the gradients' device, so that the host need not wait for it.
at::Tensor grad_norm(std::span<const at::Tensor> gradients);

}  // namespace largo::optim
