// Normalization layers: one interface, whatever the kind.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "comm/communicator.h"
#include "trainer/nn/fused_norm.h"
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
  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) {
    return forward_then(x, context, {});
  }

  // relu(forward(x) + residual), without the sum where residual is undefined. Not to be changed in
  // place where there is one.
  torch::Tensor forward_relu(const torch::Tensor& x, const StepContext& context,
                             const torch::Tensor& residual = {}) {
    return forward_then(x, context, {.relu = true, .residual = residual});
  }

  torch::Tensor weight;  // [channels]; undefined without affine
  torch::Tensor bias;    // [channels]; undefined without affine

 protected:
  // forward() and what follows it.
  virtual torch::Tensor forward_then(const torch::Tensor& x, const StepContext& context,
                                     const Epilogue& then) = 0;

  // What forward returns for zero images, with x, weight and bias in its graph.
  torch::Tensor forward_empty(const torch::Tensor& x) const;

  // Whether the options and the tensors are for the operations of fused_norm.h.
  bool fuses(const torch::Tensor& x) const;

  double epsilon() const { return epsilon_; }

 private:
  double epsilon_;
  bool fused_;
};

// By plain operations, which change y in place: what follows the normalization y.
torch::Tensor follow(torch::Tensor y, const Epilogue& then);

// Over (channels / groups, height, width) of each image.
class GroupNorm final : public Norm {
 public:
  GroupNorm(const NormOptions& options, int64_t channels, int64_t groups);

 private:
  torch::Tensor forward_then(const torch::Tensor& x, const StepContext& context,
                             const Epilogue& then) override;
  torch::Tensor plain(const torch::Tensor& x) const;

  int64_t groups_;
};

// Over (height, width) of each image and channel.
class InstanceNorm final : public Norm {
 public:
  using Norm::Norm;

 private:
  torch::Tensor forward_then(const torch::Tensor& x, const StepContext& context,
                             const Epilogue& then) override;
};

// Returns its input itself; no parameters.
class NoNorm final : public Norm {
 public:
  NoNorm(const NormOptions& options, int64_t channels);

 private:
  torch::Tensor forward_then(const torch::Tensor& x, const StepContext& context,
                             const Epilogue& then) override;
};

// The layer that the options ask for. sync_batch normalizes over the ranks of `group`, which must
// outlive the layer and every backward through it; the other kinds do not use it.
std::shared_ptr<Norm> make_norm(const NormOptions& options, int64_t channels,
                                comm::Communicator& group);

}  // namespace largo::nn
