// The rules that carry what was tuned at lr.base_batch to the global batch: learning rates, the
// warm-up's length, Adam's averages. k = global batch / lr.base_batch.
//
//   none       nothing
//   linear     LR × k (Goyal et al. 2017)
//   sqrt       LR × sqrt(k) (Krizhevsky 2014; Hoffer et al. 2017)
//   legw       LR × sqrt(k), warm-up from zero over k times the epochs (You et al. 2019)
//   adam_sqrt  LR × sqrt(k), 1 - b × k for every decay b of an average, epsilon / sqrt(k) (Malladi
//   et
//              al. 2022)
//   adascale   LR × a gain of 1 to k that each step's gradients give (Johnson et al. 2020)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"
#include "trainer/optim/optimizer_options.h"
#include "trainer/optim/options.h"

namespace largo::optim {

std::string word_of(ScalingRule rule);  // "adam_sqrt"

// k; 1 where there is no base_batch.
double batch_factor(const LrOptions& options, int64_t global_batch);

// What every learning rate of the file is multiplied by; 1 under adascale, whose gain is not known
// beforehand.
double lr_factor(const LrOptions& options, int64_t global_batch);

// Under legw k times as long in epochs and in samples. Steps stay as they are: k times as many
// samples are as many steps.
Duration scaled_warmup(const LrOptions& options, int64_t global_batch);

// Whether the rule, the warm-up, the policy and the optimizer go together.
std::vector<OptionProblem> check_scaling(const LrOptions& options,
                                         const OptimizerOptions& optimizer);

// The same for a global batch. Has problems only where check_scaling() without it has none.
std::vector<OptionProblem> check_scaling(const LrOptions& options,
                                         const OptimizerOptions& optimizer, int64_t global_batch);

// The options of the optimizer that trains with this global batch; other than `optimizer` under
// adam_sqrt only. The options have passed the checks.
OptimizerOptions scaled_for_batch(OptimizerOptions optimizer, const LrOptions& options,
                                  int64_t global_batch);

// "betas 0.9, 0.999 -> 0.2, 0.992, epsilon 1e-08 -> 3.5e-09"; empty where nothing changes.
std::string describe_scaled_optimizer(const OptimizerOptions& optimizer, const LrOptions& options,
                                      int64_t global_batch);

}  // namespace largo::optim
