// Normalization layers: one interface, whatever the kind.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "comm/communicator.h"
#include "trainer/nn/options.h"
#include "trainer/nn/step_context.h"

namespace largo::nn {

// y = weight * (x - mean) / sqrt(var + epsilon) + bias with one weight and bias per channel, of
// images [n, channels, height, width]; the kinds differ in what mean and biased variance are taken
// over. Zero images are legal: zero come out, and weight and bias get zero gradients.
class Norm : public torch::nn::Module {
 public:
  explicit Norm(int64_t channels);  // weight 1, bias 0

  virtual torch::Tensor forward(const torch::Tensor& x, const StepContext& context) = 0;

  torch::Tensor weight;  // [channels]
  torch::Tensor bias;    // [channels]

 protected:
  // What forward returns for zero images, with weight and bias in its graph.
  torch::Tensor forward_empty(const torch::Tensor& x) const;
};

// Over (channels / groups, height, width) of each image.
class GroupNorm final : public Norm {
 public:
  GroupNorm(const NormOptions& options, int64_t channels);
  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) override;

 private:
  int64_t groups_;
  double epsilon_;
};

// The layer that the options ask for. sync_batch normalizes over the ranks of `group`, which must
// outlive the layer and every backward through it; the other kinds do not use it.
std::shared_ptr<Norm> make_norm(const NormOptions& options, int64_t channels,
                                comm::Communicator& group);

}  // namespace largo::nn
