#include "trainer/nn/resnet.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/nn/conv.h"
#include "trainer/nn/init.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/residual_block.h"

namespace largo::nn {

namespace {

struct ResNetShape {
  std::vector<int64_t> blocks;  // per stage
  int64_t width;                // of the first stage
  bool bottleneck;
  Shortcut shortcut;
  Stem stem;  // where the options name none
};

Stem stem_of(const ResNetShape& shape, const ModelSpec& spec) {
  return spec.options.stem.value_or(shape.stem);
}

ConvShape stem_conv(const ResNetShape& shape, const ModelSpec& spec) {
  const bool small = stem_of(shape, spec) == Stem::kCifar;
  return {
      .in = spec.channels, .out = shape.width, .kernel = small ? 3 : 7, .stride = small ? 1 : 2};
}

class ResNet final : public Model {
 public:
  ResNet(const ResNetShape& shape, const ModelSpec& spec, comm::Communicator& group, uint64_t seed)
      : stem_(add_conv_norm(*this, "conv1", "bn1", stem_conv(shape, spec), spec.options, group)),
        max_pool_(stem_of(shape, spec) == Stem::kImagenet) {
    int64_t channels = shape.width;
    for (size_t stage = 0; stage < shape.blocks.size(); ++stage) {
      const auto layer = register_module(concat("layer", stage + 1), torch::nn::ModuleList());
      for (int64_t block = 0; block < shape.blocks[stage]; ++block) {
        const BlockShape block_shape = {.in = channels,
                                        .width = shape.width << stage,
                                        .stride = stage > 0 && block == 0 ? 2 : 1,
                                        .bottleneck = shape.bottleneck,
                                        .shortcut = shape.shortcut};
        blocks_.push_back(std::make_shared<ResidualBlock>(block_shape, spec.options, group));
        layer->push_back(blocks_.back());
        channels = block_shape.out();
      }
    }
    fc_ = register_module("fc", torch::nn::Linear(channels, spec.classes));
    fill_convolutions(*this, seed);
    fill_classifier(*fc_, "fc", seed);
    if (!spec.options.zero_init_residual) return;
    for (const auto& block : blocks_) block->zero_branch();
  }

  torch::Tensor forward(const torch::Tensor& images, const StepContext& context) override {
    torch::Tensor x = stem_.forward_relu(channels_last(images), context);
    if (max_pool_) x = at::max_pool2d(x, 3, 2, 1);
    for (const auto& block : blocks_) x = block->forward(x, context);
    return fc_(at::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
  }

 private:
  ConvNorm stem_;
  bool max_pool_;
  std::vector<std::shared_ptr<ResidualBlock>> blocks_;  // of all stages
  torch::nn::Linear fc_ = nullptr;
};

// Instance norm of a single pixel is zero, whatever the pixel.
std::vector<OptionProblem> check_last_maps(const ResNetShape& shape, const ModelSpec& spec) {
  const size_t stages = shape.blocks.size();
  const size_t halvings = stages - 1 + (stem_of(shape, spec) == Stem::kImagenet ? 2 : 0);
  const int64_t one_pixel = int64_t{1} << halvings;  // every halving rounds up
  if (std::max(spec.height, spec.width) > one_pixel) return {};
  return check_single_values(spec, concat("layer", stages, ".0.bn2"), shape.width << (stages - 1));
}

// Standardization would undo the zeros: any step away from them makes weights of full size.
std::vector<OptionProblem> check_zero_init(const ModelSpec& spec) {
  const ModelOptions& options = spec.options;
  if (!options.zero_init_residual || !options.weight_standardization || options.norm.affine) {
    return {};
  }
  return {
      {"model.zero_init_residual",
       "true needs a norm weight or a plain convolution to start at zero; there is neither with "
       "model.norm.affine false and model.weight_standardization true; legal: false"}};
}

// Later layers have multiples of the first one's channels.
std::vector<OptionProblem> check_resnet(const ResNetShape& shape, const ModelSpec& spec) {
  return all_of({check_groups(spec, "bn1", shape.width), check_last_maps(shape, spec),
                 check_zero_init(spec)});
}

ModelEntry entry_of(const ResNetShape& shape) {
  return {
      .make = [shape](const ModelSpec& spec, comm::Communicator& group,
                      uint64_t seed) { return std::make_shared<ResNet>(shape, spec, group, seed); },
      .check = [shape](const ModelSpec& spec) { return check_resnet(shape, spec); }};
}

ResNetShape torchvision_shape(int64_t depth) {
  switch (depth) {
    case 18:
      return {{2, 2, 2, 2}, 64, false, Shortcut::kProject, Stem::kImagenet};
    case 34:
      return {{3, 4, 6, 3}, 64, false, Shortcut::kProject, Stem::kImagenet};
    case 50:
      return {{3, 4, 6, 3}, 64, true, Shortcut::kProject, Stem::kImagenet};
    case 101:
      return {{3, 4, 23, 3}, 64, true, Shortcut::kProject, Stem::kImagenet};
    default:
      LARGO_CHECK(false, "depth ", depth);
  }
}

}  // namespace

ModelEntry cifar_resnet_entry(int64_t depth) {
  LARGO_CHECK(depth >= 8 && depth % 6 == 2, "depth ", depth);
  const int64_t blocks = (depth - 2) / 6;
  return entry_of({{blocks, blocks, blocks}, 16, false, Shortcut::kPad, Stem::kCifar});
}

ModelEntry resnet_entry(int64_t depth) { return entry_of(torchvision_shape(depth)); }

}  // namespace largo::nn
