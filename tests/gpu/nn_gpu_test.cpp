// Layers, models, losses and optimizers on a GPU against the same on the CPU.
#include <gtest/gtest.h>

#include "tests/gpu/nn_gpu_fixture.h"
#include "tests/nn/norm_step.h"
#include "trainer/nn/group_norm.h"
#include "trainer/nn/precise_statistics.h"
#include "trainer/nn/residual_block.h"
#include "trainer/optim/clip.h"
#include "trainer/optim/optimizer.h"
#include "trainer/optim/weight_average.h"

namespace largo::nn {
namespace {

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

// A rank may have none in a micro-batch.
TEST_F(NnGpuTest, NoSamples) {
  std::vector<ModelSpec> specs;
  for (const char* const name : {"mlp", "lenet", "cnn3", "resnet18", "narrow_vgg16"}) {
    specs.push_back(make_spec(name));
  }
  for (const NormKind kind : kKinds) specs.push_back(make_spec("resnet8", kind));
  const KeyedStep none(0);
  for (const ModelSpec& spec : specs) {
    for (const torch::Dtype precision : {torch::kFloat32, torch::kBFloat16}) {
      SCOPED_TRACE(spec.options.name + ", " + name_of(spec.options.norm.kind));
      const auto model = make(spec);
      model->to(gpu());
      const torch::Tensor images = torch::empty({0, 3, 32, 32}, gpu());
      const torch::Tensor labels =
          torch::empty({0}, torch::TensorOptions(gpu()).dtype(torch::kLong));
      torch::Tensor logits, loss, top1, sums;
      without_waiting([&] {
        for (const bool training : {false, true}) {
          const Autocast autocast(gpu().type(), precision);
          logits = model->forward(images, none.context(training));
        }
        loss = cross_entropy_sum(logits, {labels}, 0.1);
        loss.backward();
        top1 = top1_count(logits, labels);
        sums = EvalSums::of(logits, labels);
      });
      EXPECT_EQ(logits.sizes(), (at::IntArrayRef{0, 10}));
      EXPECT_EQ(loss.item<double>(), 0);
      EXPECT_EQ(top1.item<int64_t>(), 0);
      EXPECT_EQ(sums.abs().sum().item<double>(), 0);
      for (const auto& parameter : named_parameters(*model)) {
        ASSERT_TRUE(parameter.tensor.grad().defined()) << parameter.name;
        EXPECT_EQ(parameter.tensor.grad().abs().sum().item<double>(), 0) << parameter.name;
      }
    }
  }
}

TEST_F(NnGpuTest, EvaluationEqualsTheCpus) {
  for (const NormKind kind : kKinds) {
    SCOPED_TRACE(name_of(kind));
    ModelSpec spec = make_spec("resnet8", kind);
    spec.options.zero_init_residual = false;
    const KeyedStep keys(6);
    const auto evaluate = [&](torch::Device device, torch::Dtype parameters,
                              torch::Dtype precision) {
      const torch::NoGradGuard no_grad;
      const auto model = make(spec);
      for (BatchNorm* const layer : batch_norms_of(*model)) {
        layer->running_mean.copy_(random_tensor(layer->running_mean.sizes(), 7));
        layer->running_var.copy_(random_tensor(layer->running_var.sizes(), 8).square() + 0.5);
      }
      model->to(device, parameters);
      const torch::Tensor images = random_tensor({6, 3, 32, 32}, 5, parameters).to(device);
      const Autocast autocast(device.type(), precision);
      torch::Tensor logits;
      const auto once = [&] { logits = model->forward(images, keys.context(/*training=*/false)); };
      if (device.is_cuda()) {
        without_waiting(once);
      } else {
        once();
      }
      return logits.cpu();
    };
    const torch::Tensor want = evaluate(torch::kCPU, torch::kFloat64, torch::kFloat32);
    EXPECT_LE(relative_error(evaluate(gpu(), torch::kFloat64, torch::kFloat32), want), 1e-10);
    EXPECT_LE(relative_error(evaluate(gpu(), torch::kFloat32, torch::kBFloat16), want), 0.05);
  }
}

TEST_F(NnGpuTest, PreciseStatisticsEqualTheCpus) {
  const torch::NoGradGuard no_grad;
  for (const NormKind kind : {NormKind::kBatch, NormKind::kSyncBatch, NormKind::kGhostBatch}) {
    SCOPED_TRACE(name_of(kind));
    ModelSpec spec = make_spec("resnet8", kind);
    spec.options.norm.virtual_batch = 2;
    const auto buffers = [&](torch::Device device) {
      const auto model = make(spec);
      model->to(device, torch::kFloat64);
      comm::SelfCommunicator self(device);
      PreciseStatistics statistics(*model);
      statistics.begin();
      for (const int64_t samples : {5, 0, 3}) {
        const torch::Tensor images = random_tensor({samples, 3, 32, 32}, samples).to(device);
        model->forward(images, KeyedStep(samples).context());
      }
      statistics.finish(self);
      std::vector<torch::Tensor> found;
      for (const torch::Tensor& buffer : model->buffers()) found.push_back(buffer.cpu());
      statistics.restore();
      for (BatchNorm* const layer : batch_norms_of(*model)) {
        EXPECT_EQ(layer->running_mean.abs().sum().item<double>(), 0);
      }
      return found;
    };
    const auto want = buffers(torch::kCPU), got = buffers(gpu());
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_LE(relative_error(got[i], want[i]), 1e-10) << i;
    }
  }
}

// The formats are what cuDNN and ATen choose their kernels by.
TEST_F(NnGpuTest, LayersKeepChannelsLast) {
  comm::SelfCommunicator self(gpu());
  const TrainingStep step({4});
  for (const torch::Dtype precision : {torch::kFloat32, torch::kBFloat16}) {
    const auto images = [&](int64_t channels) {
      return channels_last(random_tensor({4, channels, 8, 8}, 1, precision).to(gpu()));
    };
    const auto forward = [&](torch::nn::Module& layer, const auto& of) {
      layer.to(gpu());
      make_channels_last(layer);
      const torch::NoGradGuard no_grad;
      for (torch::Tensor& parameter : layer.parameters()) parameter.normal_();
      const Autocast autocast(gpu().type(), precision);
      const torch::Tensor y = of();
      EXPECT_EQ(y.scalar_type(), precision);
      EXPECT_EQ(y.stride(1), 1);
      const torch::Tensor pooled = at::max_pool2d(y, 3, 2, 1);
      EXPECT_EQ(pooled.stride(1), 1);
      EXPECT_EQ(at::adaptive_avg_pool2d(pooled, {1, 1}).flatten(1).stride(0), y.size(1));
    };
    for (const int64_t channels : {1, 3, 16}) {
      Conv conv({.in = channels, .out = 16, .stride = 2});
      forward(conv, [&] { return conv.forward(images(channels)); });
    }
    for (const NormKind kind : kKinds) {
      for (const BlockShape& shape :
           {BlockShape{.in = 16, .width = 16},
            BlockShape{.in = 16, .width = 32, .stride = 2, .shortcut = Shortcut::kPad},
            BlockShape{.in = 16, .width = 16, .stride = 2, .bottleneck = true}}) {
        SCOPED_TRACE(name_of(kind) + ", width " + std::to_string(shape.width));
        ModelOptions options;
        options.norm = {.kind = kind, .groups = 4};
        ResidualBlock block(shape, options, self);
        forward(block, [&] { return block.forward(images(16), step.context()); });
      }
    }
  }
}

TEST_F(NnGpuTest, WeightAverageEqualsTheCpus) {
  std::vector<std::vector<torch::Tensor>> results;
  for (const torch::Device& device : {torch::Device(torch::kCPU), gpu()}) {
    const std::vector<torch::Tensor> values = {
        channels_last(random_tensor({8, 3, 3, 3}, 1)).to(device), random_tensor({7}, 2).to(device)};
    optim::WeightAverage average(
        0.9, 1, 1, {{"a", values[0]}, {"b", values[1]}, {"count", torch::zeros({}, torch::kLong)}});
    const auto train = [&] {
      for (int step = 0; step < 3; ++step) {
        for (const torch::Tensor& value : values) value.mul_(2).add_(1);
        average.update();
      }
      average.swap();
    };
    if (device.is_cuda()) {
      without_waiting(train);
    } else {
      train();
    }
    results.emplace_back();
    for (const torch::Tensor& value : values) results.back().push_back(value.cpu());
    for (const auto& [name, tensor] : average.state()) results.back().push_back(tensor.cpu());
  }
  ASSERT_EQ(results[0].size(), 4u);
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_LE(relative_error(results[1][i], results[0][i]), 1e-14) << i;
  }
}

}  // namespace
}  // namespace largo::nn
