// Options of models, normalization and the loss.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"

namespace largo::nn {

enum class NormKind { kBatch, kSyncBatch, kGhostBatch, kGroup, kLayer, kInstance, kNone };
enum class Stem { kCifar, kImagenet };

// The ranks that sync_batch takes its statistics over: all, those of a node, or `number`
// consecutive ones.
struct SyncRanks {
  enum class Kind { kWorld, kNode, kNumber };
  Kind kind = Kind::kWorld;
  int64_t number = 0;

  friend bool operator==(const SyncRanks&, const SyncRanks&) = default;
};

struct NormOptions {
  NormKind kind = NormKind::kBatch;
  SyncRanks sync_ranks = {};           // sync_batch only
  int64_t virtual_batch = 32;          // ghost_batch only: samples per set of statistics
  std::optional<int64_t> groups = {};  // group norm only: one of the two; neither is kDefaultGroups
  std::optional<int64_t> channels_per_group = {};
  double momentum = 0.1;  // of the running statistics; batch, sync_batch and ghost_batch only
  double epsilon = 1e-5;
  bool affine = true;  // one weight and bias per channel
  bool fused = true;   // by the operations of fused_norm.h, where they can
};

constexpr int64_t kDefaultGroups = 8;

// Groups that group norm splits `channels` into; 0 where the options' number does not divide them.
int64_t group_count(const NormOptions& options, int64_t channels);

struct ModelOptions {
  std::string name;
  NormOptions norm;
  bool weight_standardization = false;  // of every convolution that a norm follows
  bool zero_init_residual = true;       // the last norm of each residual block starts at zero
  std::optional<Stem> stem = {};        // residual nets; empty: the model's own
};

struct LossOptions {
  std::string kind = "cross_entropy";
  double label_smoothing = 0;
};

void declare_options(OptionTable& table, ModelOptions& options);  // model.*
void declare_options(OptionTable& table, LossOptions& options);   // loss.*

// Combinations that are wrong whatever the model.
std::vector<OptionProblem> check(const ModelOptions& options);

// Synchronized normalization over a number of ranks that does not divide the world.
std::vector<OptionProblem> check_sync_ranks(const NormOptions& options, int64_t world);

}  // namespace largo::nn

namespace largo {

template <>
struct OptionCodec<nn::SyncRanks> {
  static constexpr const char* kType = "world, node or an integer >= 1";
  static nn::SyncRanks parse(std::string_view text);
  static std::string print(const nn::SyncRanks& value);
};

}  // namespace largo
