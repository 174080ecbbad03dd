#include "trainer/optim/flat_optimizer.h"

#include <ATen/ATen.h>

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
    : weights_(flat_views_like(tensors_of(parameters), 0)) {
  const at::NoGradGuard no_grad;
  ParameterGroup decayed = {.weight_decay = options.weight_decay.value(), .exempt = false};
  ParameterGroup undecayed = {.weight_decay = 0, .exempt = true};
  for (size_t i = 0; i < parameters.size(); ++i) {
    Parameter& parameter = parameters[i];
    weights_[i].copy_(parameter.tensor);
    parameter.tensor.set_data(weights_[i]);
    names_.push_back(parameter.name);
    const bool exempt = parameter.norm_or_bias && !options.decay_norm_and_bias;
    ParameterGroup& group = exempt ? undecayed : decayed;
    group.indices.push_back(i);
    group.weights.push_back(weights_[i]);
  }
  for (ParameterGroup& group : {std::ref(decayed), std::ref(undecayed)}) {
    if (!group.indices.empty()) groups_.push_back(std::move(group));
  }
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

void FlatOptimizer::begin_step(at::TensorList, double) {}

void FlatOptimizer::step(std::span<const at::Tensor> gradients, double lr) {
  const at::NoGradGuard no_grad;
  check_gradients(gradients);
  begin_step(at::TensorList(gradients.data(), gradients.size()), lr);
  for (const ParameterGroup& group : groups_) {
    std::vector<at::Tensor> of_group;
    of_group.reserve(group.indices.size());
    for (const size_t i : group.indices) of_group.push_back(gradients[i]);
    update(group, of_group, lr);
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

std::vector<at::Tensor> with_decay(at::TensorList gradients, const ParameterGroup& group) {
  if (group.weight_decay == 0) return gradients.vec();
  return at::_foreach_add(gradients, group.weights, group.weight_decay);
}

}  // namespace largo::optim
