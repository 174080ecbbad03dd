// The ways of cutting a global batch of 64 that must all give one and the same training.
#pragma once

#include <string>
#include <vector>

#include "tests/trainer/toy_run.h"

namespace largo::test {

struct Cut {
  std::string name;
  int world;
  BatchOptions batch;
  bool accumulates;
};

inline const std::vector<Cut>& all_cuts() {
  static const std::vector<Cut> cuts = {
      {"2 x 32", 2, {.global = 64}, false},
      {"4 x 16", 4, {.global = 64}, false},
      {"2 x 16 x 2", 2, {.global = 64, .micro = 16}, true},
      {"1 x 16 x 4", 1, {.global = 64, .micro = 16}, true},
      {"3, 22 + 21 + 21", 3, {.global = 64}, false},
      {"3, uneven in micro-batches", 3, {.global = 64, .max_micro = 16}, true},
  };
  return cuts;
}

struct Subject {
  std::string name;
  ToyOptions options;
  bool needs_whole_batch;  // statistics of the batch: only cuts without accumulation are the same
};

inline std::vector<Subject> all_subjects() {
  using nn::NormKind;
  return {
      {"mlp", {.model = "mlp", .norm_given = false}, false},
      {"lenet", {.model = "lenet", .norm_given = false, .lr = 0.002}, false},
      {"resnet8 group", {.model = "resnet8", .shape = {3, 16, 16}}, false},
      {"resnet8 sync_batch",
       {.model = "resnet8", .norm = {.kind = NormKind::kSyncBatch}, .shape = {3, 16, 16}},
       true},
      // Whatever a step can do to samples, targets, gradients and weights, all at once.
      {"mlp everything",
       {.model = "mlp",
        .norm_given = false,
        .mixup = 0.4,
        .cutout = 8,
        .shuffle = {.kind = data::ShuffleKind::kBlocks, .shards = 2, .window = 50},
        .clip_norm = 0.5,
        .ema_decay = 0.9},
       false},
      {"resnet8 sync_batch everything",
       {.model = "resnet8",
        .norm = {.kind = NormKind::kSyncBatch},
        .shape = {3, 16, 16},
        .mixup = 0.4,
        .cutout = 6,
        .clip_norm = 1.0,
        .ema_decay = 0.9,
        .precise_bn = 3},
       true},
  };
}

}  // namespace largo::test
