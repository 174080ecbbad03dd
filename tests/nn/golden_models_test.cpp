// Forward and backward of models against PyTorch's, from the same weights
// (tests/golden/models.json, which says how it was made).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/nn/models_test_util.h"
#include "trainer/nn/dropout.h"
#include "trainer/nn/running_stats.h"

namespace largo::nn {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-10;
constexpr int64_t kImages = 9999;  // their number in fill()

// fill() of make_models.py, in [-0.5, 0.5).
torch::Tensor uniform(int64_t number, at::IntArrayRef shape) {
  constexpr int64_t kMask = 0xffffffff;
  torch::Tensor hash =
      torch::arange(c10::multiply_integers(shape)).mul(2654435761).add(number * 40503);
  hash = hash.bitwise_and(kMask);
  hash = hash.bitwise_xor(hash.bitwise_right_shift(16));
  hash = hash.mul(73244475).bitwise_and(kMask);
  hash = hash.bitwise_xor(hash.bitwise_right_shift(16));
  return (hash.to(torch::kFloat64) * 0x1p-32 - 0.5).reshape(shape);
}

std::vector<std::pair<std::string, torch::Tensor>> floating_state(const Model& model) {
  std::vector<std::pair<std::string, torch::Tensor>> tensors;
  for (auto& item : state_tensors(model)) {
    if (item.second.is_floating_point()) tensors.push_back(std::move(item));
  }
  return tensors;
}

void fill(Model& model) {
  const torch::NoGradGuard no_grad;
  int64_t number = 0;
  for (auto& [name, tensor] : floating_state(model)) {
    const torch::Tensor u = uniform(number++, tensor.sizes());
    if (tensor.dim() >= 2) {
      const auto fan_in = static_cast<double>(tensor.numel() / tensor.size(0));
      tensor.copy_(u * std::sqrt(24 / fan_in));
    } else if (name.ends_with(".weight") || name.ends_with("running_var")) {
      tensor.copy_(1 + 0.4 * u);
    } else {
      tensor.copy_(0.2 * u);
    }
  }
}

ModelSpec spec_of(const json& example) {
  const json& model = example["model"];
  const json& images = example["images"];
  ModelSpec spec = {.channels = images[1],
                    .height = images[2],
                    .width = images[3],
                    .classes = example["classes"],
                    .norm_given = model.contains("norm")};
  spec.options.name = model.contains("hidden") ? "narrow_vgg16" : model["name"];
  spec.options.weight_standardization = model.value("weight_standardization", false);
  const std::string norm = model.value("norm", "batch");
  if (norm == "group") spec.options.norm.kind = NormKind::kGroup;
  if (norm == "none") spec.options.norm.kind = NormKind::kNone;
  if (model.contains("groups")) spec.options.norm.groups = model["groups"];
  if (model.contains("stem")) {
    spec.options.stem = model["stem"] == "cifar" ? Stem::kCifar : Stem::kImagenet;
  }
  return spec;
}

class GoldenModelsTest : public ModelsTest {
 protected:
  void check(const json& example) {
    const auto model = make(spec_of(example));
    model->to(torch::kFloat64);
    fill(*model);
    for (const auto& module : model->modules()) {
      if (auto* dropout = module->as<Dropout>()) dropout->probability = 0;
    }
    RunningStatistics statistics(*model);
    statistics.begin_step();

    const auto shape = example["images"].get<std::vector<int64_t>>();
    const torch::Tensor images = (uniform(kImages, shape) * std::sqrt(12.0)).requires_grad_();
    const torch::Tensor labels =
        torch::arange(shape[0]).mul(3).add(1).remainder(example["classes"].get<int64_t>());
    const KeyedStep step(shape[0]);
    const torch::Tensor logits = model->forward(images, step.context(example["training"]));
    const torch::Tensor loss = cross_entropy_sum(logits, {labels}, 0);
    loss.backward();
    if (example["training"]) statistics.apply();

    const json& rows = example["logits"];
    for (size_t i = 0; i < rows.size(); ++i) {
      const torch::Tensor row = torch::tensor(rows[i].get<std::vector<double>>(), torch::kFloat64);
      EXPECT_LE(relative_error(logits.detach()[static_cast<int64_t>(i)], row), kTolerance);
    }
    const double golden_loss = example["loss"];
    EXPECT_NEAR(loss.item<double>(), golden_loss, kTolerance * golden_loss);
    expect_digest(images.grad(), example["image_gradient"][0], example["image_gradient"][1], 0);
    check_gradients(*model, example["gradients"]);
    check_buffers(*model, example["buffers"]);
  }

 private:
  // |tensor| and its checksum. The gradient of a bias before a norm is zero but for rounding:
  // `scale` is what its error is measured by.
  static void expect_digest(const torch::Tensor& tensor, double norm, double checksum,
                            double scale) {
    const torch::Tensor flat = tensor.detach().contiguous().flatten();
    const torch::Tensor weights = (0.3 * torch::arange(flat.numel(), torch::kFloat64)).cos();
    const double error = kTolerance * std::max(norm, scale);
    EXPECT_NEAR(flat.norm().item<double>(), norm, error);
    EXPECT_NEAR(flat.dot(weights).item<double>(), checksum,
                error * std::sqrt(static_cast<double>(flat.numel())));
  }

  static void check_gradients(const Model& model, const json& golden) {
    double largest = 0;
    for (const json& row : golden) largest = std::max(largest, row[1].get<double>());
    const auto parameters = named_parameters(model);
    ASSERT_EQ(parameters.size(), golden.size());
    for (size_t i = 0; i < golden.size(); ++i) {
      SCOPED_TRACE(parameters[i].name);
      EXPECT_EQ(parameters[i].name, golden[i][0]);
      expect_digest(parameters[i].tensor.grad(), golden[i][1], golden[i][2], 1e-3 * largest);
    }
  }

  static void check_buffers(const Model& model, const json& golden) {
    auto tensors = floating_state(model);
    tensors.erase(tensors.begin(),
                  tensors.begin() + static_cast<int>(named_parameters(model).size()));
    ASSERT_EQ(tensors.size(), golden.size());
    for (size_t i = 0; i < golden.size(); ++i) {
      SCOPED_TRACE(tensors[i].first);
      EXPECT_EQ(tensors[i].first, golden[i][0]);
      expect_digest(tensors[i].second, golden[i][1], golden[i][2], 0);
    }
  }
};

TEST_F(GoldenModelsTest, ForwardAndBackwardArePyTorchs) {
  std::ifstream file(LARGO_SOURCE_DIR "/tests/golden/models.json");
  const json golden = json::parse(file);
  ASSERT_EQ(golden["cases"].size(), 17u);
  for (const json& example : golden["cases"]) {
    SCOPED_TRACE(example["model"].dump() + (example["training"] ? " training" : " evaluation"));
    check(example);
  }
}

}  // namespace
}  // namespace largo::nn
