// Convolutions, and the norm that follows them.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "trainer/nn/norm.h"
#include "trainer/nn/options.h"
#include "trainer/nn/step_context.h"

namespace largo::nn {

// Square windows of odd size; kernel / 2 zeros around the image, so that stride 1 keeps its size.
struct ConvShape {
  int64_t in = 0;   // channels
  int64_t out = 0;  // channels
  int64_t kernel = 3;
  int64_t stride = 1;
  bool bias = false;
};

// y = conv2d(x, w) + bias, where w is the parameter "weight" [out, in, kernel, kernel] itself or,
// with `standardize`, (weight - mean) / (std + 1e-5): mean and unbiased std over (in, kernel,
// kernel) of each output channel, which must be at least two values, inside the graph.
// (Qiao et al. 2019, arXiv:1903.10520; unbiased as in the authors' code, other code is biased.)
// Neither parameter has a value before its model gives it one.
class Conv final : public torch::nn::Module {
 public:
  explicit Conv(const ConvShape& shape, bool standardize = false);

  torch::Tensor forward(const torch::Tensor& x) const;

  torch::Tensor weight;
  torch::Tensor bias;  // [out]; undefined without

 private:
  int64_t stride_;
  bool standardize_;
};

// A convolution and its norm; the modules belong to the layer that they are registered with.
struct ConvNorm {
  std::shared_ptr<Conv> conv;
  std::shared_ptr<Norm> norm;

  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) const {
    return norm->forward(conv->forward(x), context);
  }
  torch::Tensor forward_relu(const torch::Tensor& x, const StepContext& context,
                             const torch::Tensor& residual = {}) const {
    return norm->forward_relu(conv->forward(x), context, residual);
  }
};

// Registers the two with `parent`; options.weight_standardization is for the convolution.
ConvNorm add_conv_norm(torch::nn::Module& parent, const std::string& conv_name,
                       const std::string& norm_name, const ConvShape& shape,
                       const ModelOptions& options, comm::Communicator& group);

}  // namespace largo::nn
