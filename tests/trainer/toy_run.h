// A whole training run in miniature, on any communicator: what the equivalence tests compare.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "trainer/batch_plan.h"
#include "trainer/data/options.h"
#include "trainer/nn/options.h"
#include "trainer/run_options.h"

namespace largo::test {

struct ToyOptions {
  std::string model = "mlp";
  nn::NormKind norm = nn::NormKind::kGroup;
  bool norm_given = true;  // mlp and lenet take none
  BatchOptions batch = {};
  Precision precision = Precision::kFloat64;
  LastBatch last_batch = LastBatch::kWrap;
  int64_t steps = 5;
  int64_t train_samples = 160;  // so that five steps of 64 cross into other epochs
  std::vector<int64_t> shape = {1, 28, 28};
  int64_t bucket_bytes = 64 << 10;
  bool overlap = true;
  double lr = 0.05;
};

struct ToyResult {
  std::vector<double> losses;                                // of each step, over all ranks
  std::vector<double> grad_norms;                            // of each step
  std::vector<std::pair<std::string, torch::Tensor>> state;  // parameters and buffers at the end
  int64_t launched_in_backward = 0;                          // buckets, in the last step
  int64_t buckets = 0;
};

// A collective. `norms` is for synchronized normalization. Augmentation, label smoothing, weight
// decay, momentum and a warm-up are on, so that their randomness and state are compared too.
ToyResult run_toy(const ToyOptions& options, comm::Communicator& world, comm::Communicator& norms);

// The same with one rank.
ToyResult run_toy_alone(const ToyOptions& options);

// Empty if the runs agree, else the first difference in words. DESIGN "Numbers in tests": float64
// per tensor, float32 by losses and gradient norms.
std::string difference(const ToyResult& run, const ToyResult& reference, Precision precision);

}  // namespace largo::test
