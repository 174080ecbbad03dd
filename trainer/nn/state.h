// A model's tensors by name.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "trainer/nn/model.h"

namespace largo::nn {

struct NamedParameter {
  std::string name;
  torch::Tensor tensor;
  bool norm_or_bias;  // weights and biases of norms, biases of other layers: all with one dimension
};

// In the order in which the layers were registered; handles, not copies.
std::vector<NamedParameter> named_parameters(const Model& model);

// Parameters, then buffers: all that evaluation needs. Handles, not copies.
std::vector<std::pair<std::string, torch::Tensor>> state_tensors(const Model& model);

}  // namespace largo::nn
