// What all optimizers share: parameters in one flat tensor, state like them, and groups of
// parameters that are updated alike.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "trainer/optim/optimizer.h"

namespace largo::optim {

// Parameters that are updated alike, and their part of every slot of state.
struct ParameterGroup {
  double lr_factor = 1;
  double weight_decay = 0;       // where it is not scheduled
  bool scheduled_decay = false;  // follows Rates::weight_decay
  bool exempt = false;           // norm or bias: no weight decay, and no trust ratio unless always
  bool decays = false;           // has weight decay, at least at some steps
  std::vector<size_t> indices = {};
  std::vector<at::Tensor> weights = {};
  std::vector<std::vector<at::Tensor>> slots = {};  // [slot][parameter]
};

// Rates of one group in one step.
struct GroupRates {
  double lr = 0;
  double momentum = 0;  // or the first beta
  double weight_decay = 0;
};

// A kind adds its slots and counters when it is made and computes update(). None of its work may
// wait for the parameters' device: the learning rate and the counters are numbers on the host,
// norms stay tensors.
class FlatOptimizer : public Optimizer {
 public:
  void step(std::span<const at::Tensor> gradients, const Rates& rates) final;
  std::vector<std::pair<std::string, at::Tensor>> state() final;

 protected:
  // Moves the parameters, as make_optimizer says.
  FlatOptimizer(const OptimizerOptions& options, std::vector<Parameter> parameters);

  // One tensor like each parameter, called "<parameter>.<name>" in state() and full of `value`.
  // Slots are numbered from 0 in the order in which they are added.
  void add_slot(const std::string& name, double value = 0);

  // One number, 0 at first: a tensor without dimensions of the state.
  at::Tensor add_number(const std::string& name, const at::TensorOptions& dtype_and_device);

  // Whether any step may have momentum, and so the state of it must be kept.
  bool keeps_momentum() const { return keeps_momentum_; }

  // Of the parameters; the CPU where there are none.
  at::Device device() const { return weights_.empty() ? at::kCPU : weights_.front().device(); }

  // Before the groups' updates of a step, with all gradients and the rates of no group.
  virtual void begin_step(at::TensorList gradients, const GroupRates& rates);
  virtual void update(const ParameterGroup& group, at::TensorList gradients,
                      const GroupRates& rates) = 0;

 private:
  void check_gradients(std::span<const at::Tensor> gradients) const;
  void make_groups(const OptimizerOptions& options, const std::vector<Parameter>& parameters);

  double momentum_;  // where it is not scheduled
  bool keeps_momentum_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> weights_;  // what the model's parameters are views of
  std::vector<ParameterGroup> groups_;
  std::vector<std::pair<std::string, at::Tensor>> state_;
};

// Gradients with L2 weight decay: g + decay * w; the gradients themselves where decay is 0.
std::vector<at::Tensor> with_decay(at::TensorList gradients, const ParameterGroup& group,
                                   double decay);

}  // namespace largo::optim
