// What one update changes: a model with its running statistics, its optimizer and its average.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trainer/nn/model.h"
#include "trainer/nn/running_stats.h"
#include "trainer/optim/optimizer.h"
#include "trainer/optim/weight_average.h"
#include "trainer/run_options.h"

namespace largo {

// Members in the order in which they are made: each works on the tensors of those before it.
struct Learner {
  using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

  // The model has its final dtype and device; the optimizer moves its parameters into one tensor.
  Learner(std::shared_ptr<nn::Model> the_model, const optim::OptimizerOptions& options,
          const EmaOptions& ema, int64_t global_batch);
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  // What training has made so far, for checkpoints: writing into the tensors sets it.
  NamedTensors model_state() const;  // parameters, then buffers
  NamedTensors optimizer_state();    // and the average's

  std::shared_ptr<nn::Model> model;
  nn::RunningStatistics statistics;
  std::vector<torch::Tensor> parameters;  // of the model, in its order
  std::unique_ptr<optim::Optimizer> optimizer;
  std::optional<optim::WeightAverage> average;  // none: no moving average is kept
};

}  // namespace largo
