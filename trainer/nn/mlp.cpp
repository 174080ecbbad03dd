#include "trainer/nn/mlp.h"

#include <cmath>

#include "trainer/nn/init.h"

namespace largo::nn {

namespace {

constexpr int64_t kHidden = 256;

class Mlp final : public Model {
 public:
  Mlp(const ModelSpec& spec, uint64_t seed)
      : fc1_(register_module("fc1",
                             torch::nn::Linear(spec.channels * spec.height * spec.width, kHidden))),
        fc2_(register_module("fc2", torch::nn::Linear(kHidden, kHidden))),
        fc3_(register_module("fc3", torch::nn::Linear(kHidden, spec.classes))) {
    const torch::NoGradGuard no_grad;
    for (const auto& layer : {fc1_, fc2_}) layer->bias.zero_();
    fill_normal(fc1_->weight, "fc1.weight", seed, std::sqrt(2.0 / fan_in(fc1_->weight)));
    fill_normal(fc2_->weight, "fc2.weight", seed, std::sqrt(2.0 / fan_in(fc2_->weight)));
    fill_classifier(*fc3_, "fc3", seed);
  }

  torch::Tensor forward(const torch::Tensor& images, const StepContext&) override {
    torch::Tensor x = fc1_(images.flatten(1)).relu_();
    x = fc2_(x).relu_();
    return fc3_(x);
  }

 private:
  torch::nn::Linear fc1_, fc2_, fc3_;
};

std::vector<OptionProblem> check_mlp(const ModelSpec& spec) {
  return all_of({check_no_norm(spec), check_no_stem(spec)});
}

}  // namespace

ModelEntry mlp_entry() {
  return {.make = [](const ModelSpec& spec, comm::Communicator&,
                     uint64_t seed) { return std::make_shared<Mlp>(spec, seed); },
          .check = check_mlp};
}

}  // namespace largo::nn
