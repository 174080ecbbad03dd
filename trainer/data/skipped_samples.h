// Samples that could not be read and were replaced: data.on_bad_sample: skip.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "trainer/base/sample_key.h"

namespace largo::data {

// Counts the replaced samples of one rank. Thread-safe.
class SkippedSamples {
 public:
  // Of a training set of `samples`. `warn` is told once for each bad sample, from any thread, one
  // call at a time.
  SkippedSamples(int64_t samples, std::function<void(const std::string&)> warn);

  // The sample of this key was replaced; `message` says why.
  void add(const SampleKey& key, const std::string& message);

  int64_t total() const;  // so far, repetitions included

  // A loader reads ahead of training. These samples are trained on now: what was replaced of them
  // counts for good.
  void train_on(std::span<const SampleKey> keys);

  // Replaced samples that were trained on, by epoch, up to the last that has any: summed over the
  // ranks, the same for any world. restore() begins with those of a checkpoint; on one rank only.
  std::vector<int64_t> trained_on() const;
  void restore(const std::vector<int64_t>& by_epoch);

  // The largest share of an epoch's samples that may be replaced.
  static constexpr double most() { return 0.001; }

 private:
  int64_t samples_;
  std::function<void(const std::string&)> warn_;
  mutable std::mutex mutex_;  // guards what follows, and the calls of warn_
  int64_t total_ = 0;
  std::set<std::pair<int64_t, int64_t>> ahead_;  // epoch and index: replaced, not trained on yet
  std::vector<int64_t> trained_on_;              // by epoch
  std::set<int64_t> warned_;
};

// Throws Error{kBadData} where `count`, summed over the ranks, is more than SkippedSamples::most()
// of an epoch of `samples`.
void check_skipped(int64_t count, int64_t samples);

}  // namespace largo::data
