// What the tests of layers and models on a GPU share.
#pragma once

#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/nn/models_test_util.h"
#include "trainer/nn/autocast.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/running_stats.h"

namespace largo::nn {

inline constexpr NormKind kKinds[] = {NormKind::kBatch, NormKind::kSyncBatch, NormKind::kGhostBatch,
                                      NormKind::kGroup, NormKind::kLayer,     NormKind::kInstance,
                                      NormKind::kNone};

inline torch::Device gpu() { return {torch::kCUDA, 0}; }

inline std::string name_of(NormKind kind) {
  return "norm kind " + std::to_string(static_cast<int>(kind));
}

// What runs in `body` may not make the host wait for the GPU: ATen then throws.
inline void without_waiting(const std::function<void()>& body) {
  auto& state = c10::cuda::warning_state();
  state.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_ERROR);
  try {
    body();
  } catch (...) {
    state.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED);
    throw;
  }
  state.set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED);
}

class NnGpuTest : public ModelsTest {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "there is no GPU";
  }

  struct Step {
    torch::Tensor logits, loss, evaluation, gradients = {};
    std::vector<torch::Tensor> buffers = {};
  };

  // Forward and backward of one batch; the results are on the CPU, in float64.
  Step step(const ModelSpec& spec, torch::Device device, torch::Dtype parameters,
            torch::Dtype precision = torch::kFloat32) {
    constexpr int64_t kSamples = 6;
    const auto model = make(spec);
    model->to(device, parameters);
    make_channels_last(*model);
    RunningStatistics statistics(*model);
    statistics.begin_step();
    const KeyedStep keys(kSamples);
    const torch::Tensor images =
        random_tensor({kSamples, spec.channels, spec.height, spec.width}, 5, parameters).to(device);
    const torch::Tensor labels = torch::arange(kSamples, torch::kInt64).remainder(10).to(device);
    torch::Tensor logits, loss;
    const auto once = [&] {
      {
        const Autocast autocast(device.type(), precision);
        logits = model->forward(images, keys.context());
      }
      loss = cross_entropy_sum(logits, {labels, labels.flip(0), 0.7}, 0.1);
      loss.backward();
      statistics.apply();
    };
    if (device.is_cuda()) {
      without_waiting(once);
    } else {
      once();
    }
    const auto exact = [](const torch::Tensor& tensor) {
      return tensor.detach().to(torch::kCPU, torch::kFloat64);
    };
    Step result{.logits = exact(logits),
                .loss = exact(loss),
                .evaluation = EvalSums::of(logits, labels).cpu()};
    std::vector<torch::Tensor> parts;
    for (const auto& parameter : named_parameters(*model)) {
      EXPECT_EQ(parameter.tensor.grad().scalar_type(), parameters) << parameter.name;
      parts.push_back(exact(parameter.tensor.grad()).flatten());
    }
    result.gradients = torch::cat(parts);
    for (const torch::Tensor& buffer : model->buffers()) result.buffers.push_back(exact(buffer));
    return result;
  }

  static void expect_close(const Step& a, const Step& b, double tolerance) {
    EXPECT_LE(relative_error(a.logits, b.logits), tolerance);
    EXPECT_LE(relative_error(a.loss, b.loss), tolerance);
    EXPECT_LE(relative_error(a.evaluation, b.evaluation), tolerance);
    EXPECT_LE(relative_error(a.gradients, b.gradients), tolerance);
    for (size_t i = 0; i < b.buffers.size(); ++i) {
      EXPECT_LE(relative_error(a.buffers[i], b.buffers[i]), tolerance) << i;
    }
  }
};

}  // namespace largo::nn
