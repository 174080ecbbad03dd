// What the gradients of a run's steps come to, as numbers on the host.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/batch_plan.h"
#include "trainer/optim/gradient_statistics.h"
#include "trainer/optim/lr_controller.h"
#include "trainer/optim/options.h"
#include "trainer/run_options.h"

namespace largo {

// Whether the micro-batches of a full step say how noisy they are: there are several, all of one
// size.
bool shows_noise(const BatchPlan& plan);

// What asks for that and does not get it: train.noise_scale: on, and lr.scaling: adascale, which
// also wants all steps alike.
std::vector<OptionProblem> check_gradient_statistics(const TrainOptions& train,
                                                     const optim::LrOptions& lr,
                                                     const BatchPlan& plan);

// Keeps each step's raw sums where they were made, and hands them in order to the noise scale and
// to the LR controller when somebody needs numbers. `plan` and `lr` must outlive it. Not
// thread-safe.
class GradientMonitor {
 public:
  GradientMonitor(const BatchPlan& plan, optim::LrController& lr) : plan_(plan), lr_(lr) {}

  // `squares` is GradientReducer::micro_batch_squares(), `norm` that of the reduced gradient before
  // clipping. The host does not wait.
  void add(int64_t step, const at::Tensor& squares, const at::Tensor& norm);

  // Brings noise_scale(), state() and the controller up to the last step; the host waits for it.
  void collect();

  std::optional<double> noise_scale() const { return noise_scale_.value(); }

  // For checkpoints.
  std::string state() const { return noise_scale_.state(); }
  void restore(const std::string& state) { noise_scale_.restore(state); }

 private:
  const BatchPlan& plan_;
  optim::LrController& lr_;
  optim::NoiseScale noise_scale_;
  std::vector<int64_t> steps_;    // that were not collected
  std::vector<at::Tensor> rows_;  // theirs, in pieces: squares, norm
};

}  // namespace largo
