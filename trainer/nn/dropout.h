// Dropout whose masks belong to the samples.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "trainer/nn/step_context.h"

namespace largo::nn {

// In training y = x * keep / (1 - probability), where keep is 1 with probability 1 - probability,
// drawn for every value of x [n, ...]; in evaluation y = x.
//
// The mask of a sample depends on seed, `layer` (its number among the model's dropouts) and the
// sample's key alone: it is the same on whatever rank and in whatever batch the sample is, and
// another one in another epoch. Training needs context.keys, one per sample; throws otherwise.
class Dropout final : public torch::nn::Module {
 public:
  Dropout(double probability, uint64_t seed, uint64_t layer);

  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) const;

  double probability;  // in [0, 1)

 private:
  // [keys, values]: 0 and 1, on the host, for a copy to `device`.
  torch::Tensor draw(std::span<const SampleKey> keys, int64_t values, torch::Device device) const;

  uint64_t seed_;  // of this layer
};

}  // namespace largo::nn
