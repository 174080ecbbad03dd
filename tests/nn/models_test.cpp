// What holds for every built-in model: names, sizes, shapes, memory format, keyed initial values.
#include <gmock/gmock.h>

#include <cmath>

#include "comm/thread_communicator.h"
#include "tests/nn/models_test_util.h"

namespace largo::nn {
namespace {

using testing::ElementsAre;

std::vector<std::string> names(const Model& model) {
  std::vector<std::string> result;
  for (const auto& [name, tensor] : state_tensors(model)) result.push_back(name);
  return result;
}

TEST_F(ModelsTest, NumberOfParameters) {
  EXPECT_EQ(trainable(*make(make_spec("resnet20"))), 269722);
  EXPECT_EQ(trainable(*make(make_spec("resnet20", NormKind::kGroup))), 269722);
  EXPECT_EQ(trainable(*make(make_spec("resnet32"))), 464154);
  EXPECT_EQ(trainable(*make(make_spec("resnet44"))), 658586);
  EXPECT_EQ(trainable(*make(make_spec("resnet56"))), 853018);
  EXPECT_EQ(trainable(*make(make_spec("resnet110"))), 1727962);
  EXPECT_EQ(trainable(*make(make_spec("lenet", NormKind::kBatch, 1, 28))), 431080);
  EXPECT_EQ(trainable(*make(make_spec("cnn3"))), 89578);
  EXPECT_EQ(trainable(*make(make_spec("cnn3", NormKind::kSyncBatch))), 89578 + 4 * 32);
  EXPECT_EQ(trainable(*make(make_spec("mlp", NormKind::kBatch, 1, 28))),
            784 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10);
}

// The golden models (golden_models_test) compare the names of the larger ones.
TEST_F(ModelsTest, NamesOfParametersAndBuffers) {
  EXPECT_THAT(names(*make(make_spec("lenet"))),
              ElementsAre("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight",
                          "fc1.bias", "fc2.weight", "fc2.bias"));
  EXPECT_THAT(names(*make(make_spec("mlp"))), ElementsAre("fc1.weight", "fc1.bias", "fc2.weight",
                                                          "fc2.bias", "fc3.weight", "fc3.bias"));
  EXPECT_THAT(names(*make(make_spec("cnn3"))),
              ElementsAre("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
                          "conv3.weight", "conv3.bias", "fc.weight", "fc.bias"));
  EXPECT_THAT(names(*make(make_spec("cnn3", NormKind::kGroup))),
              ElementsAre("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "conv2.weight",
                          "conv2.bias", "bn2.weight", "bn2.bias", "conv3.weight", "conv3.bias",
                          "fc.weight", "fc.bias"));
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
  for (const std::string name : {"resnet8", "cnn3"}) {
    for (const auto& parameter : named_parameters(*make(make_spec(name)))) {
      EXPECT_EQ(parameter.norm_or_bias, parameter.tensor.dim() == 1) << parameter.name;
      if (parameter.name.find("bn") != std::string::npos || parameter.name.ends_with("bias")) {
        EXPECT_TRUE(parameter.norm_or_bias) << parameter.name;
      }
    }
  }
}

TEST_F(ModelsTest, FourDimensionalWeightsAreChannelsLastInEveryPrecision) {
  for (const std::string name : {"lenet", "cnn3", "resnet8", "resnet18"}) {
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

struct Case {
  std::string name;
  NormKind kind = NormKind::kBatch;
  int64_t side = 17;
  bool norm_given = true;
  bool weight_standardization = false;
  std::optional<Stem> stem = {};
  bool large = false;  // two kinds of batches are enough
};

ModelSpec spec_of(const Case& c, int64_t channels) {
  ModelSpec spec = make_spec(c.name, c.kind, channels, c.side);
  spec.norm_given = c.norm_given;
  spec.options.weight_standardization = c.weight_standardization;
  spec.options.stem = c.stem;
  return spec;
}

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases = {
      {.name = "mlp", .norm_given = false},
      {.name = "lenet", .norm_given = false},
      {.name = "cnn3", .norm_given = false},
      {.name = "cnn3"},
      {.name = "cnn3", .weight_standardization = true},
      {.name = "cnn3", .kind = NormKind::kNone},
      {.name = "resnet8"},
      {.name = "resnet8", .kind = NormKind::kSyncBatch},
      {.name = "resnet8", .kind = NormKind::kGhostBatch},
      {.name = "resnet8", .kind = NormKind::kGroup},
      {.name = "resnet8", .kind = NormKind::kGroup, .weight_standardization = true},
      {.name = "resnet8", .kind = NormKind::kLayer},
      {.name = "resnet8", .kind = NormKind::kInstance},
      {.name = "resnet8", .kind = NormKind::kNone},
      {.name = "resnet8", .stem = Stem::kImagenet},
      {.name = "resnet18", .stem = Stem::kCifar, .large = true},
      {.name = "resnet50", .large = true},
      {.name = "narrow_vgg16", .side = 33, .large = true},
      {.name = "narrow_vgg16", .kind = NormKind::kNone, .side = 33, .large = true},
  };
  return cases;
}

std::string describe(const Case& c) {
  return c.name + ", kind " + std::to_string(static_cast<int>(c.kind)) +
         (c.weight_standardization ? ", standardized" : "") + (c.stem ? ", stem given" : "");
}

TEST_F(ModelsTest, ShapesAndGradientsForAnyNumberOfSamples) {
  for (const Case& c : all_cases()) {
    for (const int64_t channels : c.large ? std::vector<int64_t>{1} : std::vector<int64_t>{1, 3}) {
      const auto model = make(spec_of(c, channels));
      for (const int64_t samples :
           c.large ? std::vector<int64_t>{0, 1} : std::vector<int64_t>{0, 1, 4}) {
        for (const bool training : {true, false}) {
          SCOPED_TRACE(describe(c) + ", samples " + std::to_string(samples));
          model->zero_grad();
          const torch::Tensor logits = run(*model, {samples, channels, c.side, c.side}, training);
          EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{samples, 10}));
          double largest = 0;
          for (const auto& parameter : named_parameters(*model)) {
            const torch::Tensor grad = parameter.tensor.grad();
            ASSERT_TRUE(grad.defined()) << parameter.name;
            EXPECT_EQ(grad.sizes(), parameter.tensor.sizes());
            EXPECT_TRUE(grad.isfinite().all().item<bool>()) << parameter.name;
            largest = std::max(largest, grad.abs().max().item<double>());
          }
          EXPECT_EQ(largest > 0, samples > 0);
        }
      }
    }
  }
}

// check() refuses images smaller than these; CatalogTest.ImagesTooSmall has the other side.
TEST_F(ModelsTest, SmallestImages) {
  struct Size {
    std::string name;
    int64_t height;
    int64_t width;
  };
  for (const Size& size : {Size{"mlp", 1, 1}, Size{"lenet", 16, 16}, Size{"lenet", 16, 31},
                           Size{"cnn3", 8, 8}, Size{"cnn3", 21, 8}, Size{"resnet8", 1, 1},
                           Size{"resnet18", 1, 1}, Size{"narrow_vgg16", 32, 32}}) {
    ModelSpec spec = make_spec(size.name);
    spec.height = size.height;
    spec.width = size.width;
    const auto model = make(spec);
    for (const int64_t samples : {0, 2}) {
      for (const bool training : {true, false}) {
        const torch::Tensor logits = run(*model, {samples, 3, size.height, size.width}, training);
        EXPECT_EQ(logits.size(0), samples) << size.name;
        EXPECT_TRUE(logits.isfinite().all().item<bool>()) << size.name;
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
    cross_entropy_sum(logits, {torch::zeros({samples}, torch::kInt64)}, 0.1).backward();
    for (const auto& parameter : named_parameters(*model)) {
      ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
    }
  });
}

TEST_F(ModelsTest, InitialValuesAreKeyedBySeedAndName) {
  for (const std::string name : {"mlp", "lenet", "cnn3", "resnet20", "narrow_vgg16"}) {
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

TEST_F(ModelsTest, MemoryFormatOfTheImagesDoesNotMatter) {
  for (const std::string name : {"mlp", "lenet", "cnn3", "resnet8", "narrow_vgg16"}) {
    const auto model = make(make_spec(name, NormKind::kBatch, 3, 32));
    const torch::Tensor images = random_tensor({4, 3, 32, 32}, 5, torch::kFloat32);
    EXPECT_LE(relative_error(
                  model->forward(images.contiguous(at::MemoryFormat::ChannelsLast), {}).detach(),
                  model->forward(images, {}).detach()),
              1e-6)
        << name;
  }
}

}  // namespace
}  // namespace largo::nn
