// What a training does to an NcclCore, with exact numbers: kernels fill buckets, each is reduced as
// soon as it is full, and kernels behind the reductions check the sums.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <vector>

#include "tests/comm/nccl/emulated_ranks.h"

namespace largo::test {

class TrainingSteps {
 public:
  static constexpr int kBuckets = 50;

  TrainingSteps(int ranks, int rank, std::atomic<int>& wrong);

  // The order in which this rank reduces its buckets; a test may change it.
  std::vector<int> order;
  // Elements of a bucket; a test may change them.
  std::vector<size_t> sizes;
  // Grouped: all buckets of a step leave in one call.
  bool grouped = false;
  // What a careless user does: leaves out the wait, fills buckets on a stream that nobody waits
  // for, or writes into them right after the call.
  bool wait_for_sums = true;
  ComputeStream* fill_on = nullptr;
  bool reuse_at_once = false;
  // Called before bucket k of a step is reduced; false ends this rank's part.
  std::function<bool(int step, int k)> before = [](int, int) { return true; };

  int rank() const { return rank_; }

  // The kernels end on `compute`; nothing waits for them on the host.
  void run(comm::NcclCore& core, ComputeStream& compute, int steps);

 private:
  float value(int rank, int step, int bucket, size_t i) const;
  void fill(ComputeStream& compute, int step, int bucket);
  void check(ComputeStream& compute, int step, int bucket);

  int ranks_;
  int rank_;
  std::atomic<int>& wrong_;
  std::vector<std::vector<float>> buckets_;
  std::minstd_rand random_;
};

}  // namespace largo::test
