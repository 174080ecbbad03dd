#include "trainer/nn/vgg.h"

#include <array>
#include <string>
#include <vector>

#include "trainer/nn/conv.h"
#include "trainer/nn/dropout.h"
#include "trainer/nn/init.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {

namespace {

constexpr int64_t kSmallest = 32;  // side that leaves one value after the fifth pooling
constexpr int64_t kPooledChannels = 512;
constexpr int64_t kPooledSide = 7;
constexpr double kDropout = 0.5;
constexpr std::array<int64_t, 18> kChannels = {64,  64,  0,   128, 128, 0,   256, 256, 256, 0,
                                               512, 512, 512, 0,   512, 512, 512, 0};  // 0: pool

class Vgg16 final : public Model {
 public:
  Vgg16(int64_t hidden, const ModelSpec& spec, comm::Communicator& group, uint64_t seed) {
    add_features(spec, group);
    add_classifier(hidden, spec.classes, seed);
    initialize(seed);
  }

  torch::Tensor forward(const torch::Tensor& images, const StepContext& context) override {
    torch::Tensor x = channels_last(images);
    for (const ConvNorm& layer : layers_) {
      x = layer.conv ? layer.forward_relu(x, context) : at::max_pool2d(x, 2, 2);
    }
    x = at::adaptive_avg_pool2d(x, {kPooledSide, kPooledSide}).flatten(1);
    x = dropout1_->forward(fc1_(x).relu_(), context);
    x = dropout2_->forward(fc2_(x).relu_(), context);
    return fc3_(x);
  }

 private:
  void add_features(const ModelSpec& spec, comm::Communicator& group) {
    const auto features =
        register_module("features", std::make_shared<torch::nn::Module>("features"));
    int64_t in = spec.channels;
    int number = 0;  // in torchvision's sequence: convolution, norm, ReLU, pooling are one each
    for (const int64_t out : kChannels) {
      if (out == 0) {
        layers_.emplace_back();
        ++number;
        continue;
      }
      layers_.push_back(add_conv_norm(*features, std::to_string(number), std::to_string(number + 1),
                                      {.in = in, .out = out, .bias = true}, spec.options, group));
      in = out;
      number += 3;
    }
  }

  void add_classifier(int64_t hidden, int64_t classes, uint64_t seed) {
    const auto classifier =
        register_module("classifier", std::make_shared<torch::nn::Module>("classifier"));
    const auto linear = [&](const char* name, int64_t in, int64_t out) {
      return classifier->register_module(name, torch::nn::Linear(in, out));
    };
    const auto dropout = [&](const char* name, uint64_t layer) {
      return classifier->register_module(name, std::make_shared<Dropout>(kDropout, seed, layer));
    };
    fc1_ = linear("0", kPooledChannels * kPooledSide * kPooledSide, hidden);
    dropout1_ = dropout("2", 0);
    fc2_ = linear("3", hidden, hidden);
    dropout2_ = dropout("5", 1);
    fc3_ = linear("6", hidden, classes);
  }

  void initialize(uint64_t seed) {
    fill_convolutions(*this, seed);
    const torch::NoGradGuard no_grad;
    for (const ConvNorm& layer : layers_) {
      if (layer.conv) layer.conv->bias.zero_();
    }
    fill_classifier(*fc1_, "classifier.0", seed);
    fill_classifier(*fc2_, "classifier.3", seed);
    fill_classifier(*fc3_, "classifier.6", seed);
  }

  std::vector<ConvNorm> layers_;  // of features; without convolution: pooling
  torch::nn::Linear fc1_ = nullptr, fc2_ = nullptr, fc3_ = nullptr;
  std::shared_ptr<Dropout> dropout1_, dropout2_;
};

// Later layers have multiples of the first one's channels.
std::vector<OptionProblem> check_vgg16(const ModelSpec& spec) {
  return all_of({check_groups(spec, "features.1", kChannels[0]), check_no_stem(spec),
                 check_size(spec, kSmallest)});
}

}  // namespace

ModelEntry vgg16_entry(int64_t hidden) {
  return {.make = [hidden](
                      const ModelSpec& spec, comm::Communicator& group,
                      uint64_t seed) { return std::make_shared<Vgg16>(hidden, spec, group, seed); },
          .check = check_vgg16};
}

}  // namespace largo::nn
