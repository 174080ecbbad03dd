// Shared by the tests of models.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/self_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/catalog.h"
#include "trainer/nn/loss.h"
#include "trainer/nn/state.h"
#include "trainer/nn/vgg.h"

namespace largo::nn {

inline ModelSpec make_spec(const std::string& name, NormKind kind = NormKind::kBatch,
                           int64_t channels = 3, int64_t side = 32) {
  return {.options = {.name = name, .norm = {.kind = kind}},
          .channels = channels,
          .height = side,
          .width = side,
          .classes = 10,
          .norm_given = kind != NormKind::kBatch};
}

// A training context with keys: samples `first`, `first` + 1, … of epoch 0.
class KeyedStep {
 public:
  explicit KeyedStep(int64_t samples, int64_t first = 0) : step_({samples}, samples > 0 ? 0 : 1) {
    for (int64_t i = 0; i < samples; ++i) keys_.push_back({.epoch = 0, .index = first + i});
  }

  StepContext context(bool training = true) const {
    StepContext context = step_.context();
    context.training = training;
    context.keys = keys_;
    return context;
  }

 private:
  TrainingStep step_;
  std::vector<SampleKey> keys_;
};

// The built-in models and "narrow_vgg16", which is vgg16 but for 64 hidden units.
class ModelsTest : public testing::Test {
 protected:
  ModelsTest() {
    at::set_num_threads(1);  // small tensors: more threads would only wait for each other
    add_builtin_models(catalog_);
    catalog_.add("narrow_vgg16", vgg16_entry(64));
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

  // Forward and backward of one batch of random images; returns the logits.
  static torch::Tensor run(Model& model, at::IntArrayRef shape, bool training = true,
                           torch::Dtype dtype = torch::kFloat32) {
    const KeyedStep step(shape[0]);
    const torch::Tensor logits =
        model.forward(random_tensor(shape, 5, dtype), step.context(training));
    const torch::Tensor labels = torch::arange(shape[0], torch::kInt64).remainder(10);
    cross_entropy_sum(logits, {labels}, 0).backward();
    return logits.detach();
  }

  ModelCatalog catalog_;
  comm::SelfCommunicator self_;
};

}  // namespace largo::nn
