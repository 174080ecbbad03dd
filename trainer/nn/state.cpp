#include "trainer/nn/state.h"

namespace largo::nn {

std::vector<NamedParameter> named_parameters(const Model& model) {
  std::vector<NamedParameter> parameters;
  for (const auto& item : model.named_parameters()) {
    parameters.push_back({item.key(), item.value(), item.value().dim() == 1});
  }
  return parameters;
}

std::vector<std::pair<std::string, torch::Tensor>> state_tensors(const Model& model) {
  std::vector<std::pair<std::string, torch::Tensor>> tensors;
  for (const auto& item : model.named_parameters()) tensors.push_back(item.pair());
  for (const auto& item : model.named_buffers()) tensors.push_back(item.pair());
  return tensors;
}

}  // namespace largo::nn
