// What a checkpoint says beside its tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace largo {

// What the run that goes on must have in common with the run that was left, beside its options.
struct RunIdentity {
  int64_t world = 1;  // ranks
  int64_t global_batch = 0;
  int64_t micro_batch = 0;
  std::string statistics = {};  // statistics_of(): what normalization takes its statistics over
  std::string data = {};        // data::fingerprint()
  std::string numerics = {};    // what the bits depend on: threads, instruction set, versions
};

// Steps that were left out: train.on_nonfinite: skip.
struct SkippedSteps {
  int64_t total = 0;
  int64_t in_a_row = 0;  // up to the last step
};

// Plain numbers, the same on every rank.
struct RunState {
  int64_t step = 0;   // completed updates
  double time_s = 0;  // spent training so far
  RunIdentity identity = {};
  std::vector<int64_t> bucket_order =
      {};                        // of the gradient reducer: the bits of the sums depend on it
  std::string lr_state = {};     // of the LR controller
  std::string noise_scale = {};  // averages of GradientMonitor
  SkippedSteps skipped_steps = {};
  std::vector<int64_t> skipped_samples = {};  // that others took the place of, by epoch
  std::optional<double> best_top1 = {};       // of all evaluations on the validation set
};

std::string to_json(const RunState& state);

// Throws Error{kBadData} naming `where` for anything that to_json did not write.
RunState run_state_from_json(std::string_view json, const std::string& where);

}  // namespace largo
