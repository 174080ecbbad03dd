#include "trainer/nn/cnn3.h"

#include <memory>
#include <vector>

#include "trainer/nn/conv.h"
#include "trainer/nn/init.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {

namespace {

constexpr int64_t kChannels = 32;
constexpr int64_t kSmallest = 8;  // side that leaves a window of two for the third pooling

// Of 3x3 windows with stride 2 and no padding, rounding up.
int64_t pooled(int64_t side) { return (side - 2) / 2 + 1; }

int64_t side_after_pooling(int64_t side) { return pooled(pooled(pooled(side))); }

torch::Tensor max_pool(const torch::Tensor& x) {
  return at::max_pool2d(x, 3, 2, /*padding=*/0, /*dilation=*/1, /*ceil_mode=*/true);
}

torch::Tensor average_pool(const torch::Tensor& x) {
  return at::avg_pool2d(x, 3, 2, /*padding=*/0, /*ceil_mode=*/true);
}

torch::Tensor local_response_norm(const torch::Tensor& x) {
  const torch::Tensor mean = at::avg_pool2d(x.square(), 3, 1, /*padding=*/1);
  return x * (1 + 5e-5 * mean).pow(-0.75);
}

class Cnn3 final : public Model {
 public:
  Cnn3(const ModelSpec& spec, comm::Communicator& group, uint64_t seed) {
    const bool standardize = spec.options.weight_standardization;
    conv1_ = add_conv("conv1", spec.channels, kChannels, standardize);
    if (spec.norm_given) bn1_ = add_norm("bn1", spec, group);
    conv2_ = add_conv("conv2", kChannels, kChannels, standardize);
    if (spec.norm_given) bn2_ = add_norm("bn2", spec, group);
    conv3_ = add_conv("conv3", kChannels, 2 * kChannels, false);
    const int64_t pixels = side_after_pooling(spec.height) * side_after_pooling(spec.width);
    fc_ = register_module("fc", torch::nn::Linear(2 * kChannels * pixels, spec.classes));
    initialize(seed);
  }

  torch::Tensor forward(const torch::Tensor& images, const StepContext& context) override {
    torch::Tensor x = max_pool(conv1_->forward(channels_last(images))).relu_();
    x = normalize(bn1_, x, context);
    x = average_pool(conv2_->forward(x).relu_());
    x = normalize(bn2_, x, context);
    x = average_pool(conv3_->forward(x).relu_());
    return fc_(x.flatten(1));
  }

 private:
  std::shared_ptr<Conv> add_conv(const char* name, int64_t in, int64_t out, bool standardize) {
    const ConvShape shape = {.in = in, .out = out, .kernel = 5, .bias = true};
    return register_module(name, std::make_shared<Conv>(shape, standardize));
  }

  std::shared_ptr<Norm> add_norm(const char* name, const ModelSpec& spec,
                                 comm::Communicator& group) {
    return register_module(name, make_norm(spec.options.norm, kChannels, group));
  }

  static torch::Tensor normalize(const std::shared_ptr<Norm>& norm, const torch::Tensor& x,
                                 const StepContext& context) {
    return norm ? norm->forward(x, context) : local_response_norm(x);
  }

  void initialize(uint64_t seed) {
    const torch::NoGradGuard no_grad;
    fill_normal(conv1_->weight, "conv1.weight", seed, 0.0001);
    fill_normal(conv2_->weight, "conv2.weight", seed, 0.01);
    fill_normal(conv3_->weight, "conv3.weight", seed, 0.01);
    for (const auto& conv : {conv1_, conv2_, conv3_}) conv->bias.zero_();
    fill_classifier(*fc_, "fc", seed);
  }

  std::shared_ptr<Conv> conv1_, conv2_, conv3_;
  std::shared_ptr<Norm> bn1_, bn2_;  // none: local response normalization
  torch::nn::Linear fc_ = nullptr;
};

std::vector<OptionProblem> check_norm(const ModelSpec& spec) {
  if (spec.norm_given) return check_groups(spec, "bn1", kChannels);
  if (!spec.options.weight_standardization) return {};
  return {{"model.weight_standardization",
           "is for convolutions that a norm follows; cnn3 has norms where model.norm is given"}};
}

std::vector<OptionProblem> check_cnn3(const ModelSpec& spec) {
  return all_of({check_norm(spec), check_no_stem(spec), check_size(spec, kSmallest)});
}

}  // namespace

ModelEntry cnn3_entry() {
  return {.make = [](const ModelSpec& spec, comm::Communicator& group,
                     uint64_t seed) { return std::make_shared<Cnn3>(spec, group, seed); },
          .check = check_cnn3};
}

}  // namespace largo::nn
