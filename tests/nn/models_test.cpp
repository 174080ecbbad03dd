// The built-in models: names, sizes, initial values, shapes, and forward against plain operations.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/catalog.h"
#include "trainer/nn/loss.h"
#include "trainer/nn/state.h"

namespace largo::nn {
namespace {

using testing::ElementsAre;

ModelSpec make_spec(const std::string& name, NormKind kind = NormKind::kBatch, int64_t channels = 3,
                    int64_t side = 32) {
  return {.options = {.name = name, .norm = {.kind = kind}},
          .channels = channels,
          .height = side,
          .width = side,
          .classes = 10};
}

class ModelsTest : public testing::Test {
 protected:
  ModelsTest() {
    at::set_num_threads(1);  // small tensors: more threads would only wait for each other
    add_builtin_models(catalog_);
  }

  std::shared_ptr<Model> make(const ModelSpec& spec, uint64_t seed = 1) {
    return catalog_.make(spec, self_, seed);
  }

  static int64_t trainable(const Model& model) {
    int64_t count = 0;
    for (const auto& parameter : named_parameters(model)) count += parameter.tensor.numel();
    return count;
  }

  static std::map<std::string, torch::Tensor> state(const Model& model) {
    const auto tensors = state_tensors(model);
    return {tensors.begin(), tensors.end()};
  }

  ModelCatalog catalog_;
  comm::SelfCommunicator self_;
};

TEST_F(ModelsTest, NumberOfParameters) {
  EXPECT_EQ(trainable(*make(make_spec("resnet20"))), 269722);
  EXPECT_EQ(trainable(*make(make_spec("resnet20", NormKind::kGroup))), 269722);
  EXPECT_EQ(trainable(*make(make_spec("resnet32"))), 464154);
  EXPECT_EQ(trainable(*make(make_spec("resnet44"))), 658586);
  EXPECT_EQ(trainable(*make(make_spec("resnet56"))), 853018);
  EXPECT_EQ(trainable(*make(make_spec("resnet110"))), 1727962);
  EXPECT_EQ(trainable(*make(make_spec("lenet", NormKind::kBatch, 1, 28))), 431080);
  EXPECT_EQ(trainable(*make(make_spec("mlp", NormKind::kBatch, 1, 28))),
            784 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10);
}

TEST_F(ModelsTest, NamesAreTorchvisions) {
  const auto names = [](const Model& model) {
    std::vector<std::string> result;
    for (const auto& [name, tensor] : state_tensors(model)) result.push_back(name);
    return result;
  };
  EXPECT_THAT(names(*make(make_spec("lenet"))),
              ElementsAre("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight",
                          "fc1.bias", "fc2.weight", "fc2.bias"));
  EXPECT_THAT(names(*make(make_spec("mlp"))), ElementsAre("fc1.weight", "fc1.bias", "fc2.weight",
                                                          "fc2.bias", "fc3.weight", "fc3.bias"));
  EXPECT_THAT(names(*make(make_spec("resnet8", NormKind::kGroup))),
              ElementsAre("conv1.weight", "bn1.weight", "bn1.bias",  //
                          "layer1.0.conv1.weight", "layer1.0.bn1.weight", "layer1.0.bn1.bias",
                          "layer1.0.conv2.weight", "layer1.0.bn2.weight", "layer1.0.bn2.bias",
                          "layer2.0.conv1.weight", "layer2.0.bn1.weight", "layer2.0.bn1.bias",
                          "layer2.0.conv2.weight", "layer2.0.bn2.weight", "layer2.0.bn2.bias",
                          "layer3.0.conv1.weight", "layer3.0.bn1.weight", "layer3.0.bn1.bias",
                          "layer3.0.conv2.weight", "layer3.0.bn2.weight", "layer3.0.bn2.bias",
                          "fc.weight", "fc.bias"));
  for (const NormKind kind : {NormKind::kBatch, NormKind::kSyncBatch}) {
    const auto resnet = state(*make(make_spec("resnet20", kind)));
    EXPECT_EQ(resnet.size(), 19 * 6 + 2u);
    for (const char* name : {"bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked",
                             "layer1.2.bn2.weight", "layer3.0.conv1.weight", "layer3.2.bn1.bias"}) {
      EXPECT_EQ(resnet.count(name), 1u) << name;
    }
    EXPECT_EQ(resnet.at("bn1.num_batches_tracked").scalar_type(), torch::kInt64);
  }
}

TEST_F(ModelsTest, NormsAndBiasesAreMarked) {
  for (const auto& parameter : named_parameters(*make(make_spec("resnet8")))) {
    const bool expected = parameter.name.find("bn") != std::string::npos ||
                          parameter.name.find("bias") != std::string::npos;
    EXPECT_EQ(parameter.norm_or_bias, expected) << parameter.name;
  }
}

TEST_F(ModelsTest, FourDimensionalWeightsAreChannelsLastInEveryPrecision) {
  for (const std::string name : {"lenet", "resnet8"}) {
    const auto model = make(make_spec(name, NormKind::kBatch, 1));
    for (const auto dtype : {torch::kFloat32, torch::kFloat64}) {
      model->to(dtype);
      for (const auto& parameter : named_parameters(*model)) {
        EXPECT_EQ(parameter.tensor.scalar_type(), dtype);
        EXPECT_TRUE(parameter.tensor.dim() != 4 || parameter.tensor.stride(1) == 1)
            << parameter.name;
      }
    }
  }
}

// Forward and backward on a number of samples; returns the logits.
torch::Tensor run(Model& model, int64_t samples, bool training, int64_t channels, int64_t side,
                  torch::Dtype dtype = torch::kFloat32) {
  const TrainingStep step({samples}, std::max<int64_t>(samples, 1));
  StepContext context = step.context();
  context.training = training;
  const torch::Tensor logits =
      model.forward(random_tensor({samples, channels, side, side}, 5, dtype), context);
  const torch::Tensor labels = torch::arange(samples, torch::kInt64).remainder(10);
  cross_entropy_sum(logits, labels, 0).backward();
  return logits.detach();
}

TEST_F(ModelsTest, ShapesAndGradientsForAnyNumberOfSamples) {
  struct Case {
    std::string name;
    NormKind kind;
  };
  for (const Case& c : {Case{"mlp", NormKind::kBatch}, Case{"lenet", NormKind::kBatch},
                        Case{"resnet8", NormKind::kBatch}, Case{"resnet8", NormKind::kSyncBatch},
                        Case{"resnet8", NormKind::kGroup}}) {
    for (const int64_t channels : {1, 3}) {
      for (const int64_t samples : {0, 1, 4}) {
        for (const bool training : {true, false}) {
          const auto model = make(make_spec(c.name, c.kind, channels, 17));
          const torch::Tensor logits = run(*model, samples, training, channels, 17);
          EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{samples, 10})) << c.name;
          double largest = 0;
          for (const auto& parameter : named_parameters(*model)) {
            const torch::Tensor grad = parameter.tensor.grad();
            ASSERT_TRUE(grad.defined()) << c.name << " " << parameter.name;
            EXPECT_EQ(grad.sizes(), parameter.tensor.sizes());
            EXPECT_TRUE(grad.isfinite().all().item<bool>()) << c.name << " " << parameter.name;
            largest = std::max(largest, grad.abs().max().item<double>());
          }
          EXPECT_EQ(largest > 0, samples > 0) << c.name;
        }
      }
    }
  }
}

TEST_F(ModelsTest, ARankWithoutSamplesTakesPart) {
  comm::spawn_ranks(2, [this](comm::Communicator& group) {
    const auto model = catalog_.make(make_spec("resnet8", NormKind::kSyncBatch, 3, 8), group, 1);
    const int64_t samples = group.rank() == 0 ? 0 : 3;
    const TrainingStep step({0, 3});
    const torch::Tensor logits = model->forward(torch::rand({samples, 3, 8, 8}), step.context());
    cross_entropy_sum(logits, torch::zeros({samples}, torch::kInt64), 0.1).backward();
    for (const auto& parameter : named_parameters(*model)) {
      ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
    }
  });
}

TEST_F(ModelsTest, InitialValuesAreKeyedBySeedAndName) {
  for (const std::string name : {"mlp", "lenet", "resnet20"}) {
    const auto first = state(*make(make_spec(name), 1));
    const auto again = state(*make(make_spec(name), 1));
    const auto other = state(*make(make_spec(name), 2));
    for (const auto& [key, tensor] : first) {
      EXPECT_TRUE(torch::equal(tensor, again.at(key))) << key;
      EXPECT_EQ(torch::equal(tensor, other.at(key)), tensor.dim() < 2) << key;
    }
  }
  // A deeper net starts with the same numbers in the layers that both have.
  const auto shallow = state(*make(make_spec("resnet20")));
  const auto deep = state(*make(make_spec("resnet32", NormKind::kGroup)));
  EXPECT_TRUE(torch::equal(shallow.at("layer2.1.conv2.weight"), deep.at("layer2.1.conv2.weight")));
}

TEST_F(ModelsTest, InitialValuesOfResNets) {
  for (const bool zero : {true, false}) {
    ModelSpec spec = make_spec("resnet20");
    spec.options.zero_init_residual = zero;
    for (const auto& [name, tensor] : state(*make(spec))) {
      const double mean = tensor.to(torch::kFloat64).mean().item<double>();
      if (tensor.dim() == 4) {
        const double expected = std::sqrt(2.0 / static_cast<double>(tensor.size(0) * 9));
        EXPECT_NEAR(tensor.std().item<double>() / expected, 1, name == "conv1.weight" ? 0.15 : 0.05)
            << name;
        EXPECT_NEAR(mean / expected, 0, name == "conv1.weight" ? 0.2 : 0.08) << name;
      } else if (name == "fc.weight") {
        EXPECT_NEAR(tensor.std().item<double>(), 0.01, 0.001);
      } else if (name.ends_with("bn2.weight") && zero) {
        EXPECT_TRUE(tensor.eq(0).all().item<bool>()) << name;
      } else if (name.ends_with("bias")) {
        EXPECT_TRUE(tensor.eq(0).all().item<bool>()) << name;
      } else if (name.ends_with("weight")) {
        EXPECT_TRUE(tensor.eq(1).all().item<bool>()) << name;
      }
    }
  }
}

TEST_F(ModelsTest, InitialValuesOfLeNet) {
  for (const auto& [name, tensor] : state(*make(make_spec("lenet", NormKind::kBatch, 1, 28)))) {
    if (tensor.dim() == 1) {
      EXPECT_TRUE(tensor.eq(0).all().item<bool>()) << name;
      continue;
    }
    const double bound =
        std::sqrt(3.0 * static_cast<double>(tensor.size(0)) / static_cast<double>(tensor.numel()));
    EXPECT_LE(tensor.abs().max().item<double>(), bound * (1 + 1e-6)) << name;
    EXPECT_GE(tensor.abs().max().item<double>(), 0.98 * bound) << name;
    EXPECT_NEAR(tensor.std().item<double>() / (bound / std::sqrt(3.0)), 1, 0.1) << name;
  }
}

TEST_F(ModelsTest, LeNetIsCaffes) {
  const auto model = make(make_spec("lenet", NormKind::kBatch, 1, 28));
  model->to(torch::kFloat64);
  auto w = state(*model);
  const torch::Tensor images = random_tensor({3, 1, 28, 28}, 5);
  // Windows written out: convolution as a product with unfolded patches, pooling as a maximum.
  const auto conv = [&](const torch::Tensor& x, const std::string& name) {
    const torch::Tensor patches = x.unfold(2, 5, 1).unfold(3, 5, 1);  // [n, c, h, w, 5, 5]
    return torch::einsum("nchwij,kcij->nkhw", {patches, w.at(name + ".weight")}) +
           w.at(name + ".bias").view({1, -1, 1, 1});
  };
  const auto pool = [](const torch::Tensor& x) {
    return x.unfold(2, 2, 2).unfold(3, 2, 2).amax({4, 5});
  };
  torch::Tensor x = pool(conv(pool(conv(images, "conv1")), "conv2"));
  EXPECT_EQ(x.sizes(), (std::vector<int64_t>{3, 50, 4, 4}));
  x = x.reshape({3, 800}).matmul(w.at("fc1.weight").t()) + w.at("fc1.bias");
  x = x.clamp_min(0).matmul(w.at("fc2.weight").t()) + w.at("fc2.bias");
  const torch::Tensor logits = model->forward(images, {});
  EXPECT_LE(relative_error(logits.detach(), x.detach()), 1e-12);
}

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

TEST_F(ModelsTest, MemoryFormatOfTheImagesDoesNotMatter) {
  for (const std::string name : {"mlp", "lenet", "resnet8"}) {
    const auto model = make(make_spec(name, NormKind::kBatch, 3, 16));
    const torch::Tensor images = random_tensor({4, 3, 16, 16}, 5, torch::kFloat32);
    EXPECT_LE(relative_error(
                  model->forward(images.contiguous(at::MemoryFormat::ChannelsLast), {}).detach(),
                  model->forward(images, {}).detach()),
              1e-6);
  }
}

}  // namespace
}  // namespace largo::nn
