// What every model is to the training loop.
#pragma once

#include <torch/torch.h>

#include "trainer/nn/step_context.h"

namespace largo::nn {

// A classifier. Parameters are named as torchvision names them; 4-d weights are channels_last.
// Not thread-safe; backward must run on the thread that ran forward where a layer communicates.
class Model : public torch::nn::Module {
 public:
  // images [n, channels, height, width] of the parameters' dtype, in any memory format -> logits
  // [n, classes]. n may be zero (a rank without samples): the logits then still carry a graph, and
  // its backward gives zero gradients and takes part in every collective.
  virtual torch::Tensor forward(const torch::Tensor& images, const StepContext& context) = 0;
};

}  // namespace largo::nn
