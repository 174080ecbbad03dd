// Options of models, normalization and the loss.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/base/option_table.h"

namespace largo::nn {

enum class NormKind { kBatch, kSyncBatch, kGroup };

struct NormOptions {
  NormKind kind = NormKind::kBatch;
  int64_t groups = 8;     // group norm only
  double momentum = 0.1;  // of the running statistics; batch and sync_batch only
  double epsilon = 1e-5;
};

struct ModelOptions {
  std::string name;
  NormOptions norm;
  bool zero_init_residual = true;  // residual nets: the last norm of each block starts at zero
};

struct LossOptions {
  std::string kind = "cross_entropy";
  double label_smoothing = 0;
};

void declare_options(OptionTable& table, ModelOptions& options);  // model.*
void declare_options(OptionTable& table, LossOptions& options);   // loss.*

}  // namespace largo::nn
