// One training step of one normalization layer, however its samples are spread over ranks, groups
// of ranks and micro-batches.
#pragma once

#include <c10/core/AutogradState.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "comm/thread_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/batch_norm.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/running_stats.h"

namespace largo::nn {

struct NormProblem {
  torch::Tensor x, dy, weight, bias;

  NormProblem to(torch::Dtype dtype) const {
    return {x.to(dtype), dy.to(dtype), weight.to(dtype), bias.to(dtype)};
  }
  NormProblem part(int64_t first, int64_t count) const {
    return {x.narrow(0, first, count), dy.narrow(0, first, count), weight, bias};
  }
};

// Rows differ in mean and spread, so that no rank's statistics are the others'.
inline NormProblem make_problem(at::IntArrayRef sizes) {
  const torch::Tensor row = torch::arange(sizes[0], torch::kFloat64).view({-1, 1, 1, 1});
  return {random_tensor(sizes, 1) * (1 + row) + 2 * row, random_tensor(sizes, 2),
          random_tensor({sizes[1]}, 3), random_tensor({sizes[1]}, 4)};
}

// y and dx of all samples; the parameters' gradients summed over ranks; the buffers after the step,
// undefined for kinds without.
struct NormOutcome {
  torch::Tensor y, dx, dweight, dbias, running_mean, running_var;
};

inline void expect_close(const NormOutcome& a, const NormOutcome& b, double tolerance) {
  EXPECT_LE(relative_error(a.y, b.y), tolerance);
  EXPECT_LE(relative_error(a.dx, b.dx), tolerance);
  EXPECT_LE(relative_error(a.dweight, b.dweight), tolerance);
  EXPECT_LE(relative_error(a.dbias, b.dbias), tolerance);
  if (!b.running_mean.defined()) return;
  EXPECT_LE(relative_error(a.running_mean, b.running_mean), tolerance);
  EXPECT_LE(relative_error(a.running_var, b.running_var), tolerance);
}

// What PyTorch's batch norm does with all samples at once.
inline NormOutcome one_process(const NormProblem& problem, const NormOptions& options) {
  const torch::Tensor x = problem.x.clone().requires_grad_();
  const torch::Tensor weight = problem.weight.clone().requires_grad_();
  const torch::Tensor bias = problem.bias.clone().requires_grad_();
  const torch::Tensor mean = torch::zeros_like(problem.weight);
  const torch::Tensor var = torch::ones_like(problem.weight);
  const torch::Tensor y =
      at::batch_norm(x, weight, bias, mean, var, true, options.momentum, options.epsilon, true);
  y.backward(problem.dy);
  return {y.detach(), x.grad(), weight.grad(), bias.grad(), mean, var};
}

// Samples of each micro-batch of each rank: layout[rank][micro]. They are consecutive in the
// problem, rank by rank.
using Layout = std::vector<std::vector<int64_t>>;

// `group_size` consecutive ranks normalize together; 0: all of them. Problem and outcome are on the
// CPU, the arithmetic is on `device`.
inline NormOutcome run_step(const NormOptions& options, const NormProblem& problem,
                            const Layout& layout, bool last = false, int group_size = 0,
                            torch::Device device = torch::kCPU) {
  const int ranks = static_cast<int>(layout.size());
  const int together = group_size > 0 ? group_size : ranks;
  std::vector<std::vector<torch::Tensor>> y(ranks), dx(ranks);
  std::vector<NormOutcome> each(ranks);
  comm::spawn_ranks(ranks, [&](comm::Communicator& world) {
    // Autograd has one thread per GPU: there the ranks' collectives would wait for one another.
    if (!device.is_cpu()) c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
    const int rank = world.rank();
    const auto group = world.split(rank / together, rank);
    OneNorm model(options, problem.weight.numel(), *group);
    model.to(device, problem.x.scalar_type());
    {
      const torch::NoGradGuard no_grad;
      model.norm->weight.copy_(problem.weight);
      model.norm->bias.copy_(problem.bias);
    }
    RunningStatistics statistics(model);
    int64_t first = 0;
    for (int before = 0; before < rank; ++before) {
      first += std::accumulate(layout[before].begin(), layout[before].end(), int64_t{0});
    }
    for (size_t micro = 0; micro < layout[rank].size(); ++micro) {
      std::vector<int64_t> counts;  // of the group's ranks
      counts.reserve(static_cast<size_t>(group->size()));
      for (int member = 0; member < group->size(); ++member) {
        counts.push_back(layout[rank / together * together + member][micro]);
      }
      const TrainingStep step(counts, problem.x.size(0));
      const auto mine = [&](const torch::Tensor& whole) {
        const torch::Tensor part = whole.narrow(0, first, layout[rank][micro]).clone().to(device);
        return last ? channels_last(part) : part;
      };
      const torch::Tensor x = mine(problem.x).requires_grad_();
      const torch::Tensor out = model.forward(x, step.context());
      EXPECT_EQ(out.strides(), x.strides());
      out.backward(mine(problem.dy));
      y[rank].push_back(out.detach().cpu());
      dx[rank].push_back(x.grad().cpu());
      first += layout[rank][micro];
    }
    world.all_reduce(statistics.pending()).wait();
    statistics.apply();
    each[rank].y = torch::cat(y[rank]);
    each[rank].dx = torch::cat(dx[rank]);
    each[rank].dweight = model.norm->weight.grad().cpu();
    each[rank].dbias = model.norm->bias.grad().cpu();
    if (const auto* const layer = dynamic_cast<const BatchNorm*>(model.norm.get())) {
      each[rank].running_mean = layer->running_mean.cpu();
      each[rank].running_var = layer->running_var.cpu();
    }
  });

  NormOutcome all = each[0];
  for (int rank = 1; rank < ranks; ++rank) {
    all.y = torch::cat({all.y, each[rank].y});
    all.dx = torch::cat({all.dx, each[rank].dx});
    all.dweight = all.dweight + each[rank].dweight;
    all.dbias = all.dbias + each[rank].dbias;
    if (!all.running_mean.defined()) continue;
    EXPECT_TRUE(torch::equal(each[rank].running_mean, all.running_mean)) << rank;
    EXPECT_TRUE(torch::equal(each[rank].running_var, all.running_var)) << rank;
  }
  return all;
}

}  // namespace largo::nn
