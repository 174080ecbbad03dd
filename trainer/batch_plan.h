// The batch arithmetic: the only place that knows how a global batch is split over ranks and
// micro-batches, and how many steps a duration is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"
#include "trainer/run_options.h"

namespace largo {

// Any consistent subset; global or per_rank must be there.
struct BatchOptions {
  std::optional<int64_t> global = {};     // samples of one step
  std::optional<int64_t> per_rank = {};   // samples of one step on one rank
  std::optional<int64_t> micro = {};      // samples that one forward pass sees
  std::optional<int64_t> max_micro = {};  // at most so many; the accumulation follows
};

void declare_options(OptionTable& table, BatchOptions& options);  // batch.*

// Wrong at any world size; what depends on the world is BatchPlan::check's to find.
std::vector<OptionProblem> check(const BatchOptions& options);

// Consecutive positions of the endless sample stream: position p is place p % train_samples of the
// permutation of epoch p / train_samples.
struct SampleSpan {
  int64_t first = 0;
  int64_t count = 0;

  friend bool operator==(const SampleSpan&, const SampleSpan&) = default;
};

// Cuts `whole` into `parts` consecutive pieces, the lower ones one longer where it does not divide,
// and returns piece `index`.
SampleSpan split_evenly(SampleSpan whole, int64_t parts, int64_t index);

// Why `world` ranks cannot share out so many virtual workers; 0 workers: none are used.
std::optional<OptionProblem> check_shares(int64_t virtual_workers, int64_t world);

// Every number of samples and steps of a run. Pure: the same on every rank.
//
// Step k trains on one slice of the sample stream; rank r takes its consecutive part of the slice,
// micro-batch m its consecutive part of that. So the samples of a step do not depend on the world.
class BatchPlan {
 public:
  struct Inputs {
    BatchOptions batch;
    LastBatch last_batch = LastBatch::kDrop;
    Duration length;
    int64_t world = 1;
    int64_t train_samples = 0;
    // Above 0: every step is cut into so many micro-batches of one size, whatever the world, and
    // the ranks share them out as leaves of the tree in comm/base/tree_order.h.
    int64_t virtual_workers = 0;
  };

  // Why there is no such plan: contradictions, with both numbers and what would be legal.
  static std::vector<OptionProblem> check(const Inputs& inputs);

  // check(inputs) must be empty.
  explicit BatchPlan(const Inputs& inputs);

  // The same steps, but so many of them.
  BatchPlan with_length(const Duration& length) const;

  int64_t world() const { return inputs_.world; }
  int64_t global_batch() const { return global_; }
  int64_t micro_batch() const { return micro_; }          // the largest that any rank sees
  int64_t accumulation() const { return accumulation_; }  // micro-batches per step, on every rank
  int64_t virtual_workers() const { return inputs_.virtual_workers; }  // 0: none
  int64_t train_samples() const { return inputs_.train_samples; }
  int64_t total_steps() const { return total_steps_; }

  // Completed epochs after `step` updates. Counts the samples of the stream that were passed, so it
  // is whole at the end of each epoch under drop and keep.
  double epoch_at(int64_t step) const;

  // Samples of the whole step `step` over all ranks and micro-batches; less than global_batch()
  // only for an epoch's last step under keep.
  int64_t samples_in_step(int64_t step) const { return slice(step).count; }

  // Samples trained on by the first `steps` updates.
  int64_t samples_after(int64_t steps) const;

  // The samples of step `step`, which may lie beyond total_steps().
  SampleSpan slice(int64_t step) const;

  // Of these, what rank `rank` sees in micro-batch `micro`.
  SampleSpan part(int64_t step, int64_t micro, int64_t rank) const;
  std::vector<int64_t> samples_per_rank(int64_t step, int64_t micro) const;

  // A duration as optimizer steps, rounded up to whole ones.
  int64_t steps_of(const Duration& duration) const;

  // "8192 = 32 ranks x 2 x 128", "64 = 2 ranks x 4 virtual workers x 8"
  std::string describe() const;

 private:
  Inputs inputs_;
  int64_t global_ = 0;
  int64_t micro_ = 0;
  int64_t accumulation_ = 1;
  int64_t steps_per_epoch_ = 0;  // 0 under wrap, whose epochs need not end with a step
  int64_t total_steps_ = 0;
};

}  // namespace largo
