#include "trainer/data/skipped_samples.h"

#include <utility>

#include "comm/base/error.h"

namespace largo::data {

SkippedSamples::SkippedSamples(int64_t samples, std::function<void(const std::string&)> warn)
    : samples_(samples), warn_(std::move(warn)) {}

void SkippedSamples::add(const SampleKey& key, const std::string& message) {
  const std::lock_guard lock(mutex_);
  ++counts_[key.epoch];
  if (!warned_.insert(key.index).second) return;
  warn_(concat("data.on_bad_sample: skip: sample ", key.index, " of ", samples_,
               " cannot be read, the next one takes its place: ", message));
}

int64_t SkippedSamples::count(int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(epoch);
  return found == counts_.end() ? 0 : found->second;
}

int64_t SkippedSamples::total() const {
  const std::lock_guard lock(mutex_);
  int64_t sum = 0;
  for (const auto& [epoch, count] : counts_) sum += count;
  return sum;
}

void check_skipped(int64_t count, int64_t samples) {
  if (static_cast<double>(count) <= SkippedSamples::most() * static_cast<double>(samples)) return;
  fail(ExitCode::kBadData, "data.on_bad_sample: skip: ", count, " samples of this epoch's ",
       samples, " could not be read; legal: at most ", 100 * SkippedSamples::most(), " %");
}

}  // namespace largo::data
