// Exponential moving average of a model's weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace largo::optim {

// average = d * average + (1 - d) * value after each step, from the initial values on. Local
// arithmetic on values that are equal on all ranks, so the average is equal too.
class WeightAverage {
 public:
  using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

  // d = decay ^ (global_batch / at_batch): the average looks back over as many samples at any batch
  // (Busbridge et al. 2023, "How to scale your EMA"). `values`: parameters and buffers; those of
  // integers are left out. They must keep their storage while this object lives: make it after the
  // optimizer, which moves the parameters.
  WeightAverage(double decay, int64_t at_batch, int64_t global_batch, const NamedTensors& values);

  void update();

  // Exchanges the averages with the model's values; a second call puts them back.
  void swap();

  // What a checkpoint must hold, as "<name>.ema"; writing into the tensors sets the state.
  NamedTensors state() const;

  double decay() const { return decay_; }  // of one step

 private:
  double decay_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> values_;
  std::vector<at::Tensor> averages_;
};

}  // namespace largo::optim
