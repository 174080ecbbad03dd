// Layers, models, losses and optimizers on a GPU against the same on the CPU.
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/nn/models_test_util.h"
#include "tests/nn/norm_step.h"
#include "trainer/nn/autocast.h"
#include "trainer/nn/group_norm.h"
#include "trainer/nn/running_stats.h"
#include "trainer/optim/clip.h"
#include "trainer/optim/optimizer.h"

namespace largo::nn {
namespace {

constexpr NormKind kKinds[] = {NormKind::kBatch, NormKind::kSyncBatch, NormKind::kGhostBatch,
                               NormKind::kGroup, NormKind::kLayer,     NormKind::kInstance,
                               NormKind::kNone};

torch::Device gpu() { return {torch::kCUDA, 0}; }

std::string name_of(NormKind kind) { return "norm kind " + std::to_string(static_cast<int>(kind)); }

// What runs in `body` may not make the host wait for the GPU: ATen then throws.
void without_waiting(const std::function<void()>& body) {
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

// All that says "does not wait" rests on this.
TEST_F(NnGpuTest, WaitingIsSeen) {
  const torch::Tensor x = torch::ones({3}, gpu());
  EXPECT_THROW(without_waiting([&] { x.sum().item<double>(); }), c10::Error);
  EXPECT_THROW(without_waiting([&] { torch::ones({3}).to(gpu()); }), c10::Error);
  EXPECT_NO_THROW(without_waiting([&] { x.add_(1); }));
}

TEST_F(NnGpuTest, EveryNormKindEqualsTheCpus) {
  const NormProblem problem = make_problem({8, 16, 6, 5});
  for (const NormKind kind : kKinds) {
    if (kind == NormKind::kNone) continue;
    SCOPED_TRACE(name_of(kind));
    const NormOptions options = {.kind = kind, .virtual_batch = 3};
    for (const Layout& layout : {Layout{{8}}, Layout{{5}, {3}}, Layout{{0}, {5}, {3}},
                                 Layout{{7}, {0}, {1}}, Layout{{2, 3}, {3, 0}}}) {
      for (const bool last : {false, true}) {
        const NormOutcome want = run_step(options, problem, layout, last);
        largo::nn::expect_close(run_step(options, problem, layout, last, 0, gpu()), want, 1e-10);
        largo::nn::expect_close(
            run_step(options, problem.to(torch::kFloat32), layout, last, 0, gpu()), want, 1e-4);
      }
    }
  }
}

TEST_F(NnGpuTest, SynchronizedNormOfHalfPrecisionImages) {
  NormProblem half = make_problem({8, 16, 6, 5}).to(torch::kBFloat16);
  half.weight = half.weight.to(torch::kFloat32);
  half.bias = half.bias.to(torch::kFloat32);
  const NormOutcome want = one_process(half.to(torch::kFloat64), {.epsilon = 1e-5});
  comm::SelfCommunicator self(gpu());
  for (const NormKind kind : {NormKind::kBatch, NormKind::kSyncBatch}) {
    for (const bool last : {false, true}) {
      SCOPED_TRACE(name_of(kind));
      OneNorm model({.kind = kind, .epsilon = 1e-5}, 16, self);
      {
        const torch::NoGradGuard no_grad;
        model.norm->weight.copy_(half.weight);
        model.norm->bias.copy_(half.bias);
      }
      model.to(gpu());
      const auto on_gpu = [&](const torch::Tensor& tensor) {
        return (last ? channels_last(tensor) : tensor).to(gpu());
      };
      const torch::Tensor x = on_gpu(half.x).clone().requires_grad_();
      const TrainingStep step({8});
      const torch::Tensor y = model.forward(x, step.context());
      EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
      EXPECT_EQ(y.strides(), x.strides());
      y.backward(on_gpu(half.dy));
      EXPECT_LE(relative_error(y.detach().cpu(), want.y), 1e-2);
      EXPECT_LE(relative_error(x.grad().cpu(), want.dx), 1e-2);
      EXPECT_LE(relative_error(model.norm->weight.grad().cpu(), want.dweight), 1e-4);
      EXPECT_LE(relative_error(model.norm->bias.grad().cpu(), want.dbias), 1e-4);
    }
  }
}

TEST_F(NnGpuTest, GroupNormKeepsTheMemoryFormat) {
  for (const torch::Dtype dtype : {torch::kFloat64, torch::kBFloat16}) {
    const torch::Tensor nchw = random_tensor({4, 16, 6, 5}, 1, dtype).to(gpu());
    for (const torch::Tensor& images : {nchw, channels_last(nchw)}) {
      const torch::Tensor x = images.detach().clone().requires_grad_();
      const torch::Tensor y = nn::group_norm(x, 4, {}, {}, 1e-5);
      EXPECT_EQ(y.strides(), x.strides());
      y.backward(torch::ones_like(nchw));
      EXPECT_EQ(x.grad().strides(), x.strides());
    }
  }
}

TEST_F(NnGpuTest, ModelsEqualTheCpus) {
  for (const char* const name : {"mlp", "lenet", "cnn3", "resnet8", "resnet18", "narrow_vgg16"}) {
    SCOPED_TRACE(name);
    const ModelSpec spec = make_spec(name);
    expect_close(step(spec, gpu(), torch::kFloat64), step(spec, torch::kCPU, torch::kFloat64),
                 1e-10);
  }
}

TEST_F(NnGpuTest, ModelsOfEveryNormKindEqualTheCpus) {
  for (const NormKind kind : kKinds) {
    SCOPED_TRACE(name_of(kind));
    ModelSpec spec = make_spec("resnet8", kind);
    spec.options.norm.virtual_batch = 4;
    spec.options.weight_standardization = kind == NormKind::kGroup;
    expect_close(step(spec, gpu(), torch::kFloat64), step(spec, torch::kCPU, torch::kFloat64),
                 1e-10);
  }
}

TEST_F(NnGpuTest, MixedPrecision) {
  for (const NormKind kind : kKinds) {
    SCOPED_TRACE(name_of(kind));
    const ModelSpec spec = make_spec("resnet8", kind);
    const Step exact = step(spec, torch::kCPU, torch::kFloat64);
    const Step half = step(spec, gpu(), torch::kFloat32, torch::kBFloat16);
    EXPECT_LE(relative_error(half.loss, exact.loss), 0.05);
    const torch::Tensor cosine =
        exact.gradients.dot(half.gradients) / (exact.gradients.norm() * half.gradients.norm());
    EXPECT_GT(cosine.item<double>(), 0.95);
    for (size_t i = 0; i < exact.buffers.size(); ++i) {
      EXPECT_LE(relative_error(half.buffers[i], exact.buffers[i]), 0.05) << i;
    }
  }
}

// Momentum, clipping and the norm, with a channels_last weight and one that is both formats.
TEST_F(NnGpuTest, OptimizerEqualsTheCpus) {
  std::vector<std::vector<torch::Tensor>> results;
  std::vector<double> norms;
  for (const torch::Device& device : {torch::Device(torch::kCPU), gpu()}) {
    std::vector<torch::Tensor> weights;
    std::vector<std::vector<torch::Tensor>> gradients(3);
    int64_t seed = 1;
    for (const std::vector<int64_t>& sizes :
         {std::vector<int64_t>{8, 3, 3, 3}, {8, 4, 1, 1}, {7}, {5, 300}}) {
      const auto make = [&] {
        const torch::Tensor tensor = random_tensor(sizes, seed++);
        return (tensor.dim() == 4 ? channels_last(tensor) : tensor).to(device);
      };
      weights.push_back(make().requires_grad_());
      for (auto& step : gradients) step.push_back(make());
    }
    std::vector<optim::Parameter> parameters;
    for (size_t i = 0; i < weights.size(); ++i) {
      parameters.push_back({std::to_string(i), weights[i], weights[i].dim() == 1});
    }
    const auto optimizer = optim::make_optimizer(
        {.momentum = 0.9, .nesterov = true, .weight_decay = 1e-2}, parameters);
    torch::Tensor norm;
    const auto train = [&] {
      for (auto& step : gradients) {
        norm = optim::grad_norm(step);
        optim::clip_gradients(step, norm, 10);
        optimizer->step(step, 0.1);
      }
    };
    if (device.is_cuda()) {
      without_waiting(train);
    } else {
      train();
    }
    EXPECT_EQ(norm.device(), device);
    norms.push_back(norm.item<double>());
    results.emplace_back();
    for (const torch::Tensor& weight : weights) results.back().push_back(weight.detach().cpu());
  }
  EXPECT_NEAR(norms[1], norms[0], 1e-12 * norms[0]);
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_LE(relative_error(results[1][i], results[0][i]), 1e-12) << i;
  }
}

}  // namespace
}  // namespace largo::nn
