// ResNets: forward against plain operations, stems, initial values.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/nn/models_test_util.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/residual_block.h"

namespace largo::nn {
namespace {

TEST_F(ModelsTest, ResNetIsHes) {
  ModelSpec spec = make_spec("resnet20", NormKind::kBatch, 3, 9);  // odd sides: 9, 5, 3
  spec.options.zero_init_residual = false;
  const auto model = make(spec);
  model->to(torch::kFloat64);
  auto w = state(*model);
  const torch::Tensor images = random_tensor({4, 3, 9, 9}, 5);

  const auto conv = [&](const torch::Tensor& x, const std::string& name, int64_t stride) {
    return at::conv2d(x, w.at(name + ".weight"), {}, stride, 1);
  };
  const auto norm = [&](const torch::Tensor& x, const std::string& name) {
    const torch::Tensor centered = x - x.mean({0, 2, 3}, true);
    return centered / (centered.square().mean({0, 2, 3}, true) + 1e-5).sqrt() *
               w.at(name + ".weight").view({1, -1, 1, 1}) +
           w.at(name + ".bias").view({1, -1, 1, 1});
  };
  torch::Tensor x = norm(conv(images, "conv1", 1), "bn1").clamp_min(0);
  for (int64_t stage = 1; stage <= 3; ++stage) {
    for (int64_t block = 0; block < 3; ++block) {
      const std::string name = "layer" + std::to_string(stage) + "." + std::to_string(block) + ".";
      const int64_t stride = stage > 1 && block == 0 ? 2 : 1;
      torch::Tensor y = norm(conv(x, name + "conv1", stride), name + "bn1").clamp_min(0);
      y = norm(conv(y, name + "conv2", 1), name + "bn2");
      if (stride == 2) {
        torch::Tensor wider = torch::zeros_like(y);
        wider.narrow(1, x.size(1) / 2, x.size(1))
            .copy_(x.index({at::indexing::Slice(), at::indexing::Slice(),
                            at::indexing::Slice(0, at::indexing::None, 2),
                            at::indexing::Slice(0, at::indexing::None, 2)}));
        x = wider;
      }
      x = (y + x).clamp_min(0);
    }
  }
  EXPECT_EQ(x.sizes(), (std::vector<int64_t>{4, 64, 3, 3}));
  x = x.mean({2, 3}).matmul(w.at("fc.weight").t()) + w.at("fc.bias");
  const TrainingStep step({4});
  const torch::Tensor logits = model->forward(images, step.context());
  EXPECT_LE(relative_error(logits.detach(), x.detach()), 1e-11);
}

TEST_F(ModelsTest, NumberOfParametersIsTorchvisions) {
  const std::vector<std::pair<std::string, int64_t>> counts = {{"resnet18", 11689512},
                                                               {"resnet34", 21797672},
                                                               {"resnet50", 25557032},
                                                               {"resnet101", 44549160}};
  for (const auto& [name, count] : counts) {
    ModelSpec spec = make_spec(name, NormKind::kBatch, 3, 224);
    spec.classes = 1000;
    EXPECT_EQ(trainable(*make(spec)), count) << name;
  }
}

TEST_F(ModelsTest, Stems) {
  const auto kernel = [&](const std::string& name, std::optional<Stem> stem) {
    ModelSpec spec = make_spec(name);
    spec.options.stem = stem;
    return state(*make(spec)).at("conv1.weight").size(2);
  };
  EXPECT_EQ(kernel("resnet8", {}), 3);
  EXPECT_EQ(kernel("resnet8", Stem::kCifar), 3);
  EXPECT_EQ(kernel("resnet8", Stem::kImagenet), 7);
  EXPECT_EQ(kernel("resnet18", {}), 7);
  EXPECT_EQ(kernel("resnet18", Stem::kCifar), 3);
}

// Which names are zero beyond biases and running means.
std::vector<std::string> zero_weights(const std::map<std::string, torch::Tensor>& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    if (name.ends_with("weight") && tensor.eq(0).all().item<bool>()) names.push_back(name);
  }
  return names;
}

TEST_F(ModelsTest, InitialValuesOfResNets) {
  for (const std::string model : {"resnet20", "resnet50"}) {
    for (const auto& [name, tensor] : state(*make(make_spec(model)))) {
      const double mean = tensor.to(torch::kFloat64).mean().item<double>();
      if (tensor.dim() == 4) {
        const double expected =
            std::sqrt(2.0 / static_cast<double>(tensor.numel() / tensor.size(1)));
        EXPECT_NEAR(tensor.std().item<double>() / expected, 1, name == "conv1.weight" ? 0.15 : 0.05)
            << name;
        EXPECT_NEAR(mean / expected, 0, name == "conv1.weight" ? 0.2 : 0.08) << name;
      } else if (name == "fc.weight") {
        EXPECT_NEAR(tensor.std().item<double>(), 0.01, 0.001);
      } else if (name.ends_with("bias") || name.ends_with("running_mean")) {
        EXPECT_TRUE(tensor.eq(0).all().item<bool>()) << name;
      } else if (name.ends_with("weight")) {
        EXPECT_TRUE(tensor.eq(mean).all().item<bool>()) << name;
        EXPECT_TRUE(mean == 0 || mean == 1) << name;
      }
    }
  }
}

TEST_F(ModelsTest, LastNormOfEveryBlockStartsAtZero) {
  using testing::ElementsAre;
  using testing::IsEmpty;
  ModelSpec spec = make_spec("resnet8");
  EXPECT_THAT(zero_weights(state(*make(spec))),
              ElementsAre("layer1.0.bn2.weight", "layer2.0.bn2.weight", "layer3.0.bn2.weight"));
  spec.options.zero_init_residual = false;
  EXPECT_THAT(zero_weights(state(*make(spec))), IsEmpty());

  const auto bottlenecks = zero_weights(state(*make(make_spec("resnet50"))));
  EXPECT_EQ(bottlenecks.size(), 16u);
  for (const std::string& name : bottlenecks) EXPECT_TRUE(name.ends_with(".bn3.weight")) << name;
}

TEST_F(ModelsTest, WithoutNormWeightTheLastConvolutionStartsAtZero) {
  for (const bool none : {true, false}) {
    ModelSpec spec = make_spec("resnet8", none ? NormKind::kNone : NormKind::kGroup);
    spec.options.norm.affine = none;  // group norm without weights, or none at all
    EXPECT_THAT(zero_weights(state(*make(spec))),
                testing::ElementsAre("layer1.0.conv2.weight", "layer2.0.conv2.weight",
                                     "layer3.0.conv2.weight"));
    spec.options.zero_init_residual = false;
    EXPECT_THAT(zero_weights(state(*make(spec))), testing::IsEmpty());
  }
}

TEST_F(ModelsTest, ZeroInitialisedResidualsAreTheIdentity) {
  const auto model = make(make_spec("resnet8", NormKind::kGroup, 3, 8));
  auto w = state(*model);
  const torch::Tensor images = random_tensor({2, 3, 8, 8}, 5, torch::kFloat32);
  const torch::Tensor logits = model->forward(images, {});
  const torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : w) {
    if (name.find("layer") == 0 && tensor.dim() == 4) tensor.add_(1);  // must not matter
  }
  EXPECT_TRUE(torch::equal(model->forward(images, {}), logits.detach()));
}

TEST_F(ModelsTest, StandardizationIsOfEveryConvolution) {
  ModelSpec spec = make_spec("resnet18", NormKind::kGroup, 3, 33);  // with projections
  spec.options.zero_init_residual = false;
  const auto change_by_shift = [&](bool standardize) {
    spec.options.weight_standardization = standardize;
    const auto model = make(spec);
    model->to(torch::kFloat64);
    const torch::Tensor images = random_tensor({2, 3, 33, 33}, 5);
    const torch::Tensor before = model->forward(images, {}).detach();
    const torch::NoGradGuard no_grad;
    for (auto& [name, tensor] : state(*model)) {
      if (tensor.dim() == 4) tensor.add_(0.1);
    }
    return relative_error(model->forward(images, {}), before);
  };
  EXPECT_LE(change_by_shift(true), 1e-10);
  EXPECT_GE(change_by_shift(false), 1e-2);
}

TEST_F(ModelsTest, BlocksKeepChannelsLastInForwardAndBackward) {
  for (const BlockShape& shape :
       {BlockShape{.in = 16, .width = 16},
        BlockShape{.in = 16, .width = 32, .shortcut = Shortcut::kPad},
        BlockShape{.in = 16, .width = 32, .stride = 2, .shortcut = Shortcut::kPad},
        BlockShape{.in = 16, .width = 16, .stride = 2, .bottleneck = true}}) {
    ResidualBlock block(shape, make_spec("resnet8").options, self_);
    make_channels_last(block);
    for (torch::Tensor& parameter : block.parameters()) torch::nn::init::normal_(parameter);
    const torch::Tensor images = channels_last(random_tensor({4, 16, 9, 9}, 1, torch::kFloat32));
    const torch::Tensor x = images.requires_grad_() * 1;  // a leaf's gradient has its format anyway
    torch::Tensor gradient;
    x.register_hook([&](const torch::Tensor& of_x) { gradient = of_x; });
    const torch::Tensor y = block.forward(x, KeyedStep(4).context());
    y.backward(channels_last(random_tensor(y.sizes(), 2, torch::kFloat32)));
    EXPECT_EQ(y.stride(1), 1) << "width " << shape.width << ", stride " << shape.stride;
    EXPECT_EQ(gradient.strides(), x.strides())
        << "width " << shape.width << ", stride " << shape.stride;
  }
}

}  // namespace
}  // namespace largo::nn
