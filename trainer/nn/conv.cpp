#include "trainer/nn/conv.h"

#include <cmath>

#include "comm/base/error.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {

namespace {

constexpr double kStdEpsilon = 1e-5;

torch::Tensor standardized(const torch::Tensor& weight) {
  const int64_t values = weight.numel() / weight.size(0);
  const torch::Tensor centered = weight - weight.mean({1, 2, 3}, /*keepdim=*/true);
  // The norm, not std(): many times faster on the CPU, and its gradient at zero is zero too.
  const torch::Tensor std =
      at::linalg_vector_norm(centered, 2, at::IntArrayRef({1, 2, 3}), /*keepdim=*/true) /
      std::sqrt(static_cast<double>(values - 1));
  // One input channel leaves the strides open; the convolution chooses its kernel by them.
  return channels_last(centered / (std + kStdEpsilon));
}

}  // namespace

Conv::Conv(const ConvShape& shape, bool standardize)
    : weight(register_parameter("weight",
                                torch::empty({shape.out, shape.in, shape.kernel, shape.kernel}))),
      stride_(shape.stride),
      standardize_(standardize) {
  LARGO_CHECK(shape.kernel % 2 == 1, "kernel ", shape.kernel);
  LARGO_CHECK(!standardize || shape.in * shape.kernel * shape.kernel > 1,
              "one weight per output channel has no standard deviation");
  if (shape.bias) bias = register_parameter("bias", torch::empty({shape.out}));
}

torch::Tensor Conv::forward(const torch::Tensor& x) const {
  return at::conv2d(x, standardize_ ? standardized(weight) : weight, bias, stride_,
                    weight.size(2) / 2);
}

ConvNorm add_conv_norm(torch::nn::Module& parent, const std::string& conv_name,
                       const std::string& norm_name, const ConvShape& shape,
                       const ModelOptions& options, comm::Communicator& group) {
  const auto conv = parent.register_module(
      conv_name, std::make_shared<Conv>(shape, options.weight_standardization));
  return {conv, parent.register_module(norm_name, make_norm(options.norm, shape.out, group))};
}

}  // namespace largo::nn
