#include "trainer/optim/weight_average.h"

#include <ATen/ATen.h>

#include <cmath>

namespace largo::optim {

WeightAverage::WeightAverage(double decay, int64_t at_batch, int64_t global_batch,
                             const NamedTensors& values)
    : decay_(std::pow(decay, static_cast<double>(global_batch) / static_cast<double>(at_batch))) {
  for (const auto& [name, tensor] : values) {
    if (!tensor.is_floating_point()) continue;
    names_.push_back(name);
    values_.push_back(tensor.detach());
    averages_.push_back(tensor.detach().clone());
  }
}

void WeightAverage::update() {
  const at::NoGradGuard no_grad;
  at::_foreach_lerp_(averages_, values_, 1 - decay_);
}

void WeightAverage::swap() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < values_.size(); ++i) {
    const at::Tensor value = values_[i].clone();
    values_[i].copy_(averages_[i]);
    averages_[i].copy_(value);
  }
}

WeightAverage::NamedTensors WeightAverage::state() const {
  NamedTensors tensors;
  for (size_t i = 0; i < names_.size(); ++i) {
    tensors.emplace_back(names_[i] + ".ema", averages_[i]);
  }
  return tensors;
}

}  // namespace largo::optim
