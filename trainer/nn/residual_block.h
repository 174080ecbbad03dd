// The blocks that ResNets are made of.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "trainer/nn/conv.h"

namespace largo::nn {

// What brings a block's input to the size of its output, where the two differ.
enum class Shortcut {
  kPad,      // every stride-th pixel, zero channels added on both sides (He et al. 2015, option A)
  kProject,  // 1x1 convolution and norm (option B): downsample.0 and downsample.1
};

struct BlockShape {
  int64_t in = 0;           // channels
  int64_t width = 0;        // channels of the 3x3 convolutions
  int64_t stride = 1;       // of the first 3x3 convolution
  bool bottleneck = false;  // 1x1, 3x3, 1x1 to four times the width; else 3x3, 3x3
  Shortcut shortcut = Shortcut::kProject;

  int64_t out() const { return bottleneck ? 4 * width : width; }
};

// relu(shortcut(x) + branch(x)). The branch is conv1, bn1, conv2, bn2 (, conv3, bn3) with ReLU
// between norm and convolution.
class ResidualBlock final : public torch::nn::Module {
 public:
  // `group` as in make_norm().
  ResidualBlock(const BlockShape& shape, const ModelOptions& options, comm::Communicator& group);

  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) const;

  // Makes the branch zero: the weight of its last norm or, where that has none, of its last
  // convolution.
  void zero_branch();

 private:
  torch::Tensor shortcut(const torch::Tensor& x, const StepContext& context) const;

  BlockShape shape_;
  std::vector<ConvNorm> branch_;
  ConvNorm projection_;  // empty where the shortcut has no parameters
};

}  // namespace largo::nn
