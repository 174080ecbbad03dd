#include "trainer/optim/flat_optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <optional>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

constexpr int64_t kAlignmentBytes = 64;  // a cache line, and the widest vector register

// Whether element i of the one lies in memory where element i of the other does. Dimensions of
// size 1 do not matter: a 1x1 convolution's weight is contiguous and channels_last at once.
bool same_layout(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// `value` for all of `tensors`, as one piece of memory cut into aligned views like them. Between
// the views lie zeros.
std::vector<at::Tensor> flat_views_like(const std::vector<at::Tensor>& tensors, double value) {
  if (tensors.empty()) return {};
  const at::TensorOptions dtype_and_device = tensors.front().options();
  const auto element_bytes = static_cast<int64_t>(dtype_and_device.dtype().itemsize());
  const int64_t alignment = kAlignmentBytes / element_bytes;
  std::vector<int64_t> offsets;
  int64_t total = 0;
  for (const at::Tensor& tensor : tensors) {
    offsets.push_back(total);
    total += (tensor.numel() + alignment - 1) / alignment * alignment;
  }
  const at::Tensor flat = at::zeros({total}, dtype_and_device.requires_grad(false));
  std::vector<at::Tensor> views;
  for (size_t i = 0; i < tensors.size(); ++i) {
    views.push_back(flat.as_strided(tensors[i].sizes(), tensors[i].strides(), offsets[i]));
    if (value != 0) views.back().fill_(value);
  }
  return views;
}

std::vector<at::Tensor> tensors_of(const std::vector<Parameter>& parameters) {
  std::vector<at::Tensor> tensors;
  for (const Parameter& parameter : parameters) {
    const at::Tensor& first = parameters.front().tensor;
    LARGO_CHECK(parameter.tensor.is_non_overlapping_and_dense(), parameter.name,
                " is not dense in memory");
    LARGO_CHECK(parameter.tensor.options().type_equal(first.options()) &&
                    parameter.tensor.device() == first.device(),
                parameter.name, " differs from ", parameters.front().name, " in dtype or device");
    tensors.push_back(parameter.tensor);
  }
  return tensors;
}

}  // namespace

FlatOptimizer::FlatOptimizer(const OptimizerOptions& options, std::vector<Parameter> parameters)
    : momentum_(base_momentum(options)),
      keeps_momentum_(momentum_ > 0 || is_scheduled(options.momentum_schedule)),
      weights_(flat_views_like(tensors_of(parameters), 0)) {
  const at::NoGradGuard no_grad;
  names_.reserve(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    weights_[i].copy_(parameters[i].tensor);
    parameters[i].tensor.set_data(weights_[i]);
    names_.push_back(parameters[i].name);
  }
  make_groups(options, parameters);
}

void FlatOptimizer::make_groups(const OptimizerOptions& options,
                                const std::vector<Parameter>& parameters) {
  const bool scheduled = is_scheduled(options.weight_decay_schedule);
  const auto assigned = assign_groups(options.groups, names_);
  std::map<std::pair<std::optional<size_t>, bool>, ParameterGroup>
      groups;  // the exempt after others
  for (size_t i = 0; i < parameters.size(); ++i) {
    const GroupOptions own = assigned[i] ? options.groups[*assigned[i]] : GroupOptions();
    const bool exempt = own.weight_decay
                            ? *own.weight_decay == 0
                            : parameters[i].norm_or_bias && !options.decay_norm_and_bias;
    ParameterGroup& group = groups[{assigned[i], exempt}];
    group.lr_factor = own.lr_factor;
    group.weight_decay = exempt ? 0 : own.weight_decay.value_or(options.weight_decay.value_or(0));
    group.scheduled_decay = !exempt && !own.weight_decay;
    group.exempt = exempt;
    group.decays = group.weight_decay > 0 || (group.scheduled_decay && scheduled);
    group.indices.push_back(i);
    group.weights.push_back(weights_[i]);
  }
  groups_.reserve(groups.size());
  for (auto& [key, group] : groups) groups_.push_back(std::move(group));
}

void FlatOptimizer::add_slot(const std::string& name, double value) {
  const std::vector<at::Tensor> views = flat_views_like(weights_, value);
  for (size_t i = 0; i < views.size(); ++i) state_.emplace_back(names_[i] + "." + name, views[i]);
  for (ParameterGroup& group : groups_) {
    std::vector<at::Tensor>& slot = group.slots.emplace_back();
    for (const size_t i : group.indices) slot.push_back(views[i]);
  }
}

at::Tensor FlatOptimizer::add_number(const std::string& name,
                                     const at::TensorOptions& dtype_and_device) {
  at::Tensor number = at::zeros({}, dtype_and_device);
  state_.emplace_back(name, number);
  return number;
}

void FlatOptimizer::begin_step(at::TensorList, const GroupRates&) {}

void FlatOptimizer::step(std::span<const at::Tensor> gradients, const Rates& rates) {
  const at::NoGradGuard no_grad;
  check_gradients(gradients);
  GroupRates of_step{.lr = rates.lr, .momentum = rates.momentum.value_or(momentum_)};
  LARGO_CHECK(of_step.momentum >= 0 && of_step.momentum < 1, "momentum ", of_step.momentum,
              "; legal: >= 0 and < 1");
  LARGO_CHECK(keeps_momentum_ || of_step.momentum == 0, "momentum ", of_step.momentum,
              " for an optimizer that was made without");
  begin_step(at::TensorList(gradients.data(), gradients.size()), of_step);
  for (const ParameterGroup& group : groups_) {
    std::vector<at::Tensor> of_group;
    of_group.reserve(group.indices.size());
    for (const size_t i : group.indices) of_group.push_back(gradients[i]);
    const std::optional<double> decay = group.scheduled_decay ? rates.weight_decay : std::nullopt;
    update(group, of_group,
           {.lr = rates.lr * group.lr_factor,
            .momentum = of_step.momentum,
            .weight_decay = decay.value_or(group.weight_decay)});
  }
}

std::vector<std::pair<std::string, at::Tensor>> FlatOptimizer::state() { return state_; }

void FlatOptimizer::check_gradients(std::span<const at::Tensor> gradients) const {
  LARGO_CHECK(gradients.size() == weights_.size(), gradients.size(), " gradients for ",
              weights_.size(), " parameters");
  for (size_t i = 0; i < weights_.size(); ++i) {
    LARGO_CHECK(gradients[i].defined(), names_[i], " has no gradient");
    LARGO_CHECK(same_layout(gradients[i], weights_[i]), "the gradient of ", names_[i],
                " has sizes ", gradients[i].sizes(), ", strides ", gradients[i].strides(),
                " and dtype ", gradients[i].dtype(), "; the parameter has ", weights_[i].sizes(),
                ", ", weights_[i].strides(), " and ", weights_[i].dtype());
  }
}

std::vector<at::Tensor> with_decay(at::TensorList gradients, const ParameterGroup& group,
                                   double decay) {
  if (decay == 0) return gradients.vec();
  return at::_foreach_add(gradients, group.weights, decay);
}

}  // namespace largo::optim
