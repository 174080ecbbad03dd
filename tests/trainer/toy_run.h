// A whole training run in miniature, on any communicator: what the equivalence tests compare.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "trainer/batch_plan.h"
#include "trainer/data/options.h"
#include "trainer/metrics/recorder.h"
#include "trainer/nn/model.h"
#include "trainer/nn/options.h"
#include "trainer/nn/step_context.h"
#include "trainer/optim/lr_controller.h"
#include "trainer/optim/lr_range.h"
#include "trainer/optim/optimizer_options.h"
#include "trainer/run_options.h"

namespace largo::test {

struct ToyOptions {
  std::string model = "mlp";
  nn::NormOptions norm = {.kind = nn::NormKind::kGroup};
  bool norm_given = true;  // mlp and lenet take none
  BatchOptions batch = {};
  int64_t virtual_workers = 0;
  Precision precision = Precision::kFloat64;
  LastBatch last_batch = LastBatch::kWrap;
  int64_t steps = 5;
  int64_t train_samples = 160;  // so that five steps of 64 cross into other epochs
  std::vector<int64_t> shape = {1, 28, 28};
  int64_t bucket_bytes = 64 << 10;
  bool overlap = true;
  double lr = 0.05;
  optim::OptimizerOptions optimizer = {.nesterov = true, .weight_decay = 5e-4};
  double mixup = 0;
  int64_t cutout = 0;
  data::ShuffleOptions shuffle = {};
  std::optional<double> clip_norm = {};
  std::optional<double> ema_decay = {};  // at a batch of 32
  int64_t precise_bn = 0;                // batches; the statistics then replace the running ones
  int64_t adascale_base = 0;  // base batch of AdaScale, without a warm-up; 0: no AdaScale
  std::optional<optim::Ramp> range_test = {};            // on this ramp, before training
  int64_t range_test_fails_at = -1;                      // step after which it throws
  std::shared_ptr<optim::LrController> controller = {};  // none: warm-up, or AdaScale
  int64_t from_step = 0;  // the samples of the first step; weights are the initial ones
  // Where a rank's gradient of a step has a NaN.
  std::function<bool(int rank, int64_t step)> poisons = {};
  std::function<void(nn::Model&)> prepares = {};  // changes the initial weights
  OnNonfinite on_nonfinite = OnNonfinite::kStop;
  std::optional<int64_t> max_skipped = {};
  std::optional<std::filesystem::path> directory = {};  // of the run; none: nothing is written
  // Told of every micro-batch that is trained on.
  std::function<void(int rank, const nn::StepContext&)> watches = {};
};

struct ToyResult {
  std::vector<double> losses;                                // of each step, over all ranks
  std::vector<double> grad_norms;                            // of each step
  std::vector<double> lrs;                                   // of each step
  std::vector<bool> skipped;                                 // of each step
  std::vector<double> noise_scales;                          // after each step; -1: not known
  std::vector<std::pair<std::string, torch::Tensor>> state;  // parameters, buffers, averages
  std::vector<std::pair<std::string, torch::Tensor>> optimizer_state;
  std::optional<optim::RangeTest> range_test = {};  // none: none was made, or it failed
  metrics::StepTimes times;                         // of the steps
  int64_t launched_in_backward = 0;                 // buckets, in the last step
  int64_t buckets = 0;
};

// A collective. `norms` is for synchronized normalization, over what norm_color() says.
// Augmentation, label smoothing, weight decay, momentum and a warm-up are on, so that their
// randomness and state are compared too.
ToyResult run_toy(const ToyOptions& options, comm::Communicator& world, comm::Communicator& norms);

// Which ranks share `norms`: those of one color.
int norm_color(const nn::NormOptions& options, int rank);

// The same with one rank.
ToyResult run_toy_alone(const ToyOptions& options);

// Empty if the runs agree, else the first difference in words. DESIGN "Numbers in tests": float64
// per tensor, float32 by losses and gradient norms.
std::string difference(const ToyResult& run, const ToyResult& reference, Precision precision);

}  // namespace largo::test
