// Samples that could not be read and were replaced: data.on_bad_sample: skip.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>

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

  int64_t count(int64_t epoch) const;  // replaced samples of this epoch, repetitions included
  int64_t total() const;               // of all epochs

  // The largest share of an epoch's samples that may be replaced.
  static constexpr double most() { return 0.001; }

 private:
  int64_t samples_;
  std::function<void(const std::string&)> warn_;
  mutable std::mutex mutex_;  // guards what follows, and the calls of warn_
  std::map<int64_t, int64_t> counts_;
  std::set<int64_t> warned_;
};

// Throws Error{kBadData} where `count`, summed over the ranks, is more than SkippedSamples::most()
// of an epoch of `samples`.
void check_skipped(int64_t count, int64_t samples);

}  // namespace largo::data
