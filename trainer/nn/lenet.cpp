#include "trainer/nn/lenet.h"

#include <cmath>
#include <string>

#include "trainer/nn/conv_pool.h"
#include "trainer/nn/init.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {

namespace {

constexpr int64_t kSmallest = 16;  // side that leaves one value after the second pooling

int64_t side_after_pooling(int64_t side) { return ((side - 4) / 2 - 4) / 2; }

class LeNet final : public Model {
 public:
  LeNet(const ModelSpec& spec, uint64_t seed)
      : conv1_(register_module("conv1", torch::nn::Conv2d(spec.channels, 20, 5))),
        conv2_(register_module("conv2", torch::nn::Conv2d(20, 50, 5))),
        fc1_(register_module("fc1", torch::nn::Linear(50 * side_after_pooling(spec.height) *
                                                          side_after_pooling(spec.width),
                                                      500))),
        fc2_(register_module("fc2", torch::nn::Linear(500, spec.classes))) {
    for (auto& item : named_parameters()) {
      const std::string& name = item.key();
      if (item.value().dim() == 1) {
        torch::nn::init::zeros_(item.value());
      } else {
        fill_uniform(item.value(), name, seed, std::sqrt(3.0 / fan_in(item.value())));
      }
    }
  }

  torch::Tensor forward(const torch::Tensor& images, const StepContext&) override {
    const torch::Tensor x = conv_max_pool(channels_last(images), conv1_->weight, conv1_->bias);
    return fc2_(fc1_(conv_max_pool_flat(x, conv2_->weight, conv2_->bias)).relu_());
  }

 private:
  torch::nn::Conv2d conv1_, conv2_;
  torch::nn::Linear fc1_, fc2_;
};

std::vector<OptionProblem> check_lenet(const ModelSpec& spec) {
  return all_of({check_no_norm(spec), check_no_stem(spec), check_size(spec, kSmallest)});
}

}  // namespace

ModelEntry lenet_entry() {
  return {.make = [](const ModelSpec& spec, comm::Communicator&,
                     uint64_t seed) { return std::make_shared<LeNet>(spec, seed); },
          .check = check_lenet};
}

}  // namespace largo::nn
