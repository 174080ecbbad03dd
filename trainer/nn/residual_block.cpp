#include "trainer/nn/residual_block.h"

#include <string>

#include "comm/base/error.h"

namespace largo::nn {

namespace {

std::vector<ConvShape> branch_of(const BlockShape& block) {
  if (!block.bottleneck) {
    return {{.in = block.in, .out = block.width, .stride = block.stride},
            {.in = block.width, .out = block.width}};
  }
  return {{.in = block.in, .out = block.width, .kernel = 1},
          {.in = block.width, .out = block.width, .stride = block.stride},
          {.in = block.width, .out = block.out(), .kernel = 1}};
}

}  // namespace

ResidualBlock::ResidualBlock(const BlockShape& shape, const ModelOptions& options,
                             comm::Communicator& group)
    : shape_(shape) {
  for (const ConvShape& conv : branch_of(shape)) {
    const size_t number = branch_.size() + 1;
    branch_.push_back(
        add_conv_norm(*this, concat("conv", number), concat("bn", number), conv, options, group));
  }
  const bool same_size = shape.stride == 1 && shape.in == shape.out();
  if (same_size || shape.shortcut == Shortcut::kPad) return;
  const auto downsample =
      register_module("downsample", std::make_shared<torch::nn::Module>("downsample"));
  projection_ = add_conv_norm(
      *downsample, "0", "1",
      {.in = shape.in, .out = shape.out(), .kernel = 1, .stride = shape.stride}, options, group);
}

torch::Tensor ResidualBlock::forward(const torch::Tensor& x, const StepContext& context) const {
  torch::Tensor y = x;
  for (size_t i = 0; i + 1 < branch_.size(); ++i) y = branch_[i].forward_relu(y, context);
  return branch_.back().forward_relu(y, context, shortcut(x, context));
}

torch::Tensor ResidualBlock::shortcut(const torch::Tensor& x, const StepContext& context) const {
  if (projection_.conv) return projection_.forward(x, context);
  const int64_t stride = shape_.stride;
  const int64_t padding = (shape_.out() - shape_.in) / 2;
  if (stride == 1 && padding == 0) return x;
  // Pooling of single pixels: its gradient is channels_last like all others, a slice's is NCHW.
  const torch::Tensor subsampled = stride == 1 ? x : at::avg_pool2d(x, 1, stride);
  return at::constant_pad_nd(subsampled, {0, 0, 0, 0, padding, padding});
}

void ResidualBlock::zero_branch() {
  const torch::NoGradGuard no_grad;
  const ConvNorm& last = branch_.back();
  (last.norm->weight.defined() ? last.norm->weight : last.conv->weight).zero_();
}

}  // namespace largo::nn
