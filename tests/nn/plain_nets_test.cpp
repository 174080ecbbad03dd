// LeNet, cnn3 and VGG: forward against plain operations, initial values.
#include <cmath>

#include "tests/nn/models_test_util.h"
#include "trainer/nn/dropout.h"
#include "trainer/nn/init.h"

namespace largo::nn {
namespace {

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

TEST_F(ModelsTest, Cnn3IsCaffes) {
  const auto model = make(make_spec("cnn3", NormKind::kBatch, 3, 16));  // 16, 8, 4, 2
  model->to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  auto w = state(*model);
  for (auto& [name, tensor] : w) tensor.copy_(random_tensor(tensor.sizes(), tensor.numel()));
  const torch::Tensor images = random_tensor({2, 3, 16, 16}, 5);
  // As Caffe's loops: windows that start inside and end with the image.
  const auto pool = [](const torch::Tensor& x, bool average) {
    const int64_t side = (x.size(2) - 2) / 2 + 1;  // (side - 3) / 2 rounded up, + 1
    torch::Tensor y = torch::empty({x.size(0), x.size(1), side, side}, x.options());
    for (int64_t i = 0; i < side; ++i) {
      for (int64_t j = 0; j < side; ++j) {
        const torch::Tensor window = x.slice(2, 2 * i, 2 * i + 3).slice(3, 2 * j, 2 * j + 3);
        y.select(2, i).select(2, j).copy_(average ? window.mean({2, 3}) : window.amax({2, 3}));
      }
    }
    return y;
  };
  const auto response_norm = [](const torch::Tensor& x) {
    const torch::Tensor padded = at::constant_pad_nd(x.square(), {1, 1, 1, 1});
    const torch::Tensor mean = padded.unfold(2, 3, 1).unfold(3, 3, 1).sum({4, 5}) / 9;
    return x / (1 + 5e-5 * mean).pow(0.75);
  };
  const auto conv = [&](const torch::Tensor& x, const std::string& name) {
    return at::conv2d(x, w.at(name + ".weight"), w.at(name + ".bias"), 1, 2);
  };
  torch::Tensor x = response_norm(pool(conv(images, "conv1"), false).clamp_min(0));
  x = response_norm(pool(conv(x, "conv2").clamp_min(0), true));
  x = pool(conv(x, "conv3").clamp_min(0), true);
  EXPECT_EQ(x.sizes(), (std::vector<int64_t>{2, 64, 2, 2}));
  x = x.flatten(1).matmul(w.at("fc.weight").t()) + w.at("fc.bias");
  EXPECT_LE(relative_error(model->forward(images, {}), x), 1e-12);
}

TEST_F(ModelsTest, InitialValuesOfCnn3) {
  for (const auto& [name, tensor] : state(*make(make_spec("cnn3")))) {
    if (name.ends_with("bias")) {
      EXPECT_TRUE(tensor.eq(0).all().item<bool>()) << name;
    } else {
      const double std = name == "conv1.weight" ? 0.0001 : 0.01;
      EXPECT_NEAR(tensor.std().item<double>() / std, 1, 0.05) << name;
    }
  }
}

// Standardized weights do not change when all are shifted; the others do.
TEST_F(ModelsTest, Cnn3StandardizesWhatANormFollows) {
  ModelSpec spec = make_spec("cnn3", NormKind::kGroup);
  spec.options.weight_standardization = true;
  const auto model = make(spec);
  model->to(torch::kFloat64);
  const torch::Tensor images = random_tensor({2, 3, 32, 32}, 5);
  const torch::NoGradGuard no_grad;
  auto w = state(*model);
  for (const std::string name : {"conv1", "conv2", "conv3"}) {
    const torch::Tensor before = model->forward(images, {});
    w.at(name + ".weight").add_(0.1);
    const double change = relative_error(model->forward(images, {}), before);
    EXPECT_EQ(change < 1e-9, name != "conv3") << name << " " << change;
  }
}

TEST_F(ModelsTest, NumberOfParametersOfVgg16IsTorchvisions) {
  ModelSpec spec = make_spec("vgg16", NormKind::kBatch, 3, 224);
  spec.classes = 1000;
  EXPECT_EQ(trainable(*make(spec)), 138365992);
}

TEST_F(ModelsTest, InitialValuesOfVgg16) {
  for (const auto& [name, tensor] : state(*make(make_spec("narrow_vgg16")))) {
    if (tensor.dim() == 4) {
      const double expected = std::sqrt(2.0 / static_cast<double>(tensor.size(0) * 9));
      EXPECT_NEAR(tensor.std().item<double>() / expected, 1, 0.05) << name;
    } else if (tensor.dim() == 2) {
      const torch::Tensor expected = torch::empty_like(tensor);
      fill_normal(expected, name, 1, 0.01);  // under the layer's own name
      EXPECT_TRUE(torch::equal(tensor, expected)) << name;
    } else if (name.ends_with("bias")) {
      EXPECT_TRUE(tensor.eq(0).all().item<bool>()) << name;
    } else if (name.ends_with("weight")) {
      EXPECT_TRUE(tensor.eq(1).all().item<bool>()) << name;
    }
  }
}

// Its dropout too: the same sample gives the same numbers in every batch.
TEST_F(ModelsTest, Vgg16TrainsAlikeHoweverTheBatchIsSplit) {
  const torch::Tensor images = random_tensor({6, 3, 32, 32}, 5);
  const auto model = make(make_spec("narrow_vgg16", NormKind::kGroup));
  model->to(torch::kFloat64);
  const auto gradients = [&](const std::vector<int64_t>& parts) {
    model->zero_grad();
    int64_t first = 0;
    for (const int64_t samples : parts) {
      const KeyedStep step(samples, first);
      const torch::Tensor logits = model->forward(images.narrow(0, first, samples), step.context());
      cross_entropy_sum(logits, {torch::arange(first, first + samples)}, 0).backward();
      first += samples;
    }
    std::vector<torch::Tensor> all;
    for (const auto& parameter : named_parameters(*model)) {
      all.push_back(parameter.tensor.grad().flatten());
    }
    return torch::cat(all);
  };
  const torch::Tensor whole = gradients({6});
  EXPECT_LE(relative_error(gradients({2, 0, 4}), whole), 1e-12);
}

TEST_F(ModelsTest, Vgg16DropsOutInTrainingOnly) {
  const auto model = make(make_spec("narrow_vgg16", NormKind::kGroup));
  const torch::Tensor images = random_tensor({2, 3, 32, 32}, 5, torch::kFloat32);
  const auto logits = [&](bool training, int64_t first) {
    const KeyedStep step(2, first);
    return model->forward(images, step.context(training)).detach();
  };
  EXPECT_TRUE(torch::equal(logits(false, 0), logits(false, 2)));
  EXPECT_TRUE(torch::equal(logits(true, 0), logits(true, 0)));
  EXPECT_FALSE(torch::equal(logits(true, 0), logits(true, 2)));
  EXPECT_FALSE(torch::equal(logits(true, 0), logits(false, 0)));

  // The two layers have masks of their own.
  const KeyedStep step(2);
  std::vector<torch::Tensor> masks;
  for (const auto& module : model->modules()) {
    const auto* dropout = module->as<Dropout>();
    if (dropout) masks.push_back(dropout->forward(torch::ones({2, 64}), step.context()));
  }
  ASSERT_EQ(masks.size(), 2u);
  EXPECT_FALSE(torch::equal(masks[0], masks[1]));
  EXPECT_EQ(masks[0].max().item<double>(), 2);
  EXPECT_EQ(masks[1].max().item<double>(), 2);
}

}  // namespace
}  // namespace largo::nn
