#include "trainer/nn/resnet.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/nn/init.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/norm.h"

namespace largo::nn {

namespace {

constexpr int64_t kStages = 3;

int64_t stage_channels(int64_t stage) { return int64_t{16} << stage; }

torch::nn::Conv2d conv3x3(int64_t in, int64_t out, int64_t stride) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false));
}

// relu(x' + bn2(conv2(relu(bn1(conv1(x)))))), where x' is x, subsampled and widened with zeros.
class BasicBlock final : public torch::nn::Module {
 public:
  BasicBlock(int64_t in, int64_t out, int64_t stride, const NormOptions& norm,
             comm::Communicator& group)
      : conv1_(register_module("conv1", conv3x3(in, out, stride))),
        bn1_(register_module("bn1", make_norm(norm, out, group))),
        conv2_(register_module("conv2", conv3x3(out, out, 1))),
        bn2_(register_module("bn2", make_norm(norm, out, group))),
        stride_(stride),
        padding_((out - in) / 2) {}

  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) {
    torch::Tensor y = bn1_->forward(conv1_(x), context).relu_();
    y = bn2_->forward(conv2_(y), context);
    return y.add_(shortcut(x)).relu_();
  }

  Norm& last_norm() { return *bn2_; }

 private:
  torch::Tensor shortcut(const torch::Tensor& x) const {
    if (stride_ == 1 && padding_ == 0) return x;
    const torch::Tensor subsampled = x.slice(2, 0, {}, stride_).slice(3, 0, {}, stride_);
    return at::constant_pad_nd(subsampled, {0, 0, 0, 0, padding_, padding_});
  }

  torch::nn::Conv2d conv1_;
  std::shared_ptr<Norm> bn1_;
  torch::nn::Conv2d conv2_;
  std::shared_ptr<Norm> bn2_;
  int64_t stride_;
  int64_t padding_;  // zero channels on each side
};

class CifarResNet final : public Model {
 public:
  CifarResNet(int64_t depth, const ModelSpec& spec, comm::Communicator& group, uint64_t seed)
      : conv1_(register_module("conv1", conv3x3(spec.channels, stage_channels(0), 1))),
        bn1_(register_module("bn1", make_norm(spec.options.norm, stage_channels(0), group))) {
    int64_t channels = stage_channels(0);
    for (int64_t stage = 0; stage < kStages; ++stage) {
      const auto layer = register_module(concat("layer", stage + 1), torch::nn::ModuleList());
      for (int64_t block = 0; block < (depth - 2) / 6; ++block) {
        const int64_t stride = stage > 0 && block == 0 ? 2 : 1;
        blocks_.push_back(std::make_shared<BasicBlock>(channels, stage_channels(stage), stride,
                                                       spec.options.norm, group));
        layer->push_back(blocks_.back());
        channels = stage_channels(stage);
      }
    }
    fc_ = register_module("fc", torch::nn::Linear(channels, spec.classes));
    initialize(seed, spec.options.zero_init_residual);
  }

  torch::Tensor forward(const torch::Tensor& images, const StepContext& context) override {
    torch::Tensor x = bn1_->forward(conv1_(channels_last(images)), context).relu_();
    for (const auto& block : blocks_) x = block->forward(x, context);
    return fc_(at::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
  }

 private:
  void initialize(uint64_t seed, bool zero_init_residual) {
    const torch::NoGradGuard no_grad;
    for (auto& item : named_parameters()) {
      if (item.value().dim() != 4) continue;
      fill_normal(item.value(), item.key(), seed, std::sqrt(2.0 / fan_out(item.value())));
    }
    fill_normal(fc_->weight, "fc.weight", seed, 0.01);
    fc_->bias.zero_();
    if (!zero_init_residual) return;
    for (const auto& block : blocks_) block->last_norm().weight.zero_();
  }

  torch::nn::Conv2d conv1_;
  std::shared_ptr<Norm> bn1_;
  std::vector<std::shared_ptr<BasicBlock>> blocks_;  // of all stages
  torch::nn::Linear fc_ = nullptr;
};

// The first layer of each stage that the groups do not fit.
std::vector<OptionProblem> check(const ModelSpec& spec) {
  std::vector<OptionProblem> problems = check_groups(spec, "bn1", stage_channels(0));
  for (int64_t stage = 1; stage < kStages && problems.empty(); ++stage) {
    problems = check_groups(spec, concat("layer", stage + 1, ".0.bn1"), stage_channels(stage));
  }
  return problems;
}

}  // namespace

ModelEntry cifar_resnet_entry(int64_t depth) {
  LARGO_CHECK(depth >= 8 && depth % 6 == 2, "depth ", depth);
  return {.make =
              [depth](const ModelSpec& spec, comm::Communicator& group, uint64_t seed) {
                return std::make_shared<CifarResNet>(depth, spec, group, seed);
              },
          .check = check};
}

}  // namespace largo::nn
