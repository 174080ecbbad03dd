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
  // Weight 1, bias 0; neither unless options.affine.
  Norm(const NormOptions& options, int64_t channels);

  // Of x's dtype, in x's memory format. The caller may change it in place.
  virtual torch::Tensor forward(const torch::Tensor& x, const StepContext& context) = 0;

  torch::Tensor weight;  // [channels]; undefined without affine
  torch::Tensor bias;    // [channels]; undefined without affine

 protected:
  // What forward returns for zero images, with x, weight and bias in its graph.
  torch::Tensor forward_empty(const torch::Tensor& x) const;

  double epsilon() const { return epsilon_; }

 private:
  double epsilon_;
};

// Over (channels / groups, height, width) of each image.
class GroupNorm final : public Norm {
 public:
  GroupNorm(const NormOptions& options, int64_t channels, int64_t groups);
  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) override;

 private:
  int64_t groups_;
};

// Over (height, width) of each image and channel.
class InstanceNorm final : public Norm {
 public:
  using Norm::Norm;
  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) override;
};

// Returns its input itself; no parameters.
class NoNorm final : public Norm {
 public:
  NoNorm(const NormOptions& options, int64_t channels);
  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) override;
};

// The layer that the options ask for. sync_batch normalizes over the ranks of `group`, which must
// outlive the layer and every backward through it; the other kinds do not use it.
std::shared_ptr<Norm> make_norm(const NormOptions& options, int64_t channels,
                                comm::Communicator& group);

}  // namespace largo::nn
