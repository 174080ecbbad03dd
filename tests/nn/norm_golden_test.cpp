// Every kind against the values of PyTorch's layers in tests/golden/norms.json.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "comm/thread_communicator.h"
#include "tests/nn/norm_step.h"

namespace largo::nn {
namespace {

using nlohmann::json;

constexpr double kTolerance = 1e-10;

torch::Tensor tensor_of(const json& numbers) {
  return torch::tensor(numbers.get<std::vector<double>>(), torch::kFloat64);
}

NormOptions options_of(const json& given) {
  NormOptions options;
  const std::string kind = given["kind"];
  OptionTable table;
  ModelOptions model;
  declare_options(table, model);
  EXPECT_EQ(table.find("model.norm.kind")->set({.scalar = kind}), std::nullopt);
  options.kind = model.norm.kind;
  if (given.contains("groups")) options.groups = given["groups"];
  if (given.contains("channels_per_group"))
    options.channels_per_group = given["channels_per_group"];
  options.virtual_batch = given.value("virtual_batch", options.virtual_batch);
  options.momentum = given.value("momentum", options.momentum);
  options.epsilon = given.value("epsilon", options.epsilon);
  options.affine = given.value("affine", options.affine);
  return options;
}

// What one rank does with its samples, compared with its part of the golden values.
void check_rank(const json& problem, const json& golden, bool last, comm::Communicator& world) {
  SCOPED_TRACE(golden["options"].dump() + (last ? " channels_last" : " contiguous"));
  const std::vector<int64_t> counts = golden["ranks"];
  const std::vector<int64_t> sizes = problem["shape"];
  const int64_t first = std::accumulate(counts.begin(), counts.begin() + world.rank(), int64_t{0});
  const int64_t count = counts[world.rank()];
  const auto images = [&](const json& numbers) {
    const torch::Tensor part = tensor_of(numbers).view(sizes).narrow(0, first, count).clone();
    return last ? channels_last(part) : part;
  };
  OneNorm model(options_of(golden["options"]), sizes[1], world);
  model.to(torch::kFloat64);
  const bool affine = golden.contains("dweight");
  ASSERT_EQ(model.norm->weight.defined(), affine);
  const bool has_buffers = golden.contains("running_mean");
  auto* const layer = dynamic_cast<BatchNorm*>(model.norm.get());
  ASSERT_EQ(layer != nullptr, has_buffers);
  {
    const torch::NoGradGuard no_grad;
    if (affine) model.norm->weight.copy_(tensor_of(problem["weight"]));
    if (affine) model.norm->bias.copy_(tensor_of(problem["bias"]));
    if (has_buffers) layer->running_mean.copy_(tensor_of(problem["running_mean"]));
    if (has_buffers) layer->running_var.copy_(tensor_of(problem["running_var"]));
  }
  RunningStatistics statistics(model);
  const TrainingStep step(counts);
  const torch::Tensor x = images(problem["x"]).requires_grad_();
  const torch::Tensor y = model.forward(x, step.context());
  y.backward(images(problem["dy"]));
  EXPECT_LE(relative_error(y.detach(), images(golden["y"])), kTolerance);
  EXPECT_LE(relative_error(x.grad(), images(golden["dx"])), kTolerance);
  if (affine) {
    world.all_reduce(model.norm->weight.grad()).wait();
    world.all_reduce(model.norm->bias.grad()).wait();
    EXPECT_LE(relative_error(model.norm->weight.grad(), tensor_of(golden["dweight"])), kTolerance);
    EXPECT_LE(relative_error(model.norm->bias.grad(), tensor_of(golden["dbias"])), kTolerance);
  }
  if (has_buffers) {
    world.all_reduce(statistics.pending()).wait();
    statistics.apply();
    EXPECT_LE(relative_error(layer->running_mean, tensor_of(golden["running_mean"])), kTolerance);
    EXPECT_LE(relative_error(layer->running_var, tensor_of(golden["running_var"])), kTolerance);
  }
  EXPECT_LE(relative_error(model.forward(x, {}).detach(), images(golden["eval_y"])), kTolerance);
}

TEST(NormGoldenTest, AgreesWithPyTorch) {
  std::ifstream file(LARGO_SOURCE_DIR "/tests/golden/norms.json");
  const json golden = json::parse(file);
  ASSERT_EQ(golden["cases"].size(), 16U);
  for (const json& entry : golden["cases"]) {
    for (const bool last : {false, true}) {
      comm::spawn_ranks(static_cast<int>(entry["ranks"].size()), [&](comm::Communicator& world) {
        check_rank(golden["problem"], entry, last, world);
      });
    }
  }
}

}  // namespace
}  // namespace largo::nn
