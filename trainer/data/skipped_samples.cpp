#include "trainer/data/skipped_samples.h"

#include <utility>

#include "comm/base/error.h"

namespace largo::data {

SkippedSamples::SkippedSamples(int64_t samples, std::function<void(const std::string&)> warn)
    : samples_(samples), warn_(std::move(warn)) {}

void SkippedSamples::add(const SampleKey& key, const std::string& message) {
  const std::lock_guard lock(mutex_);
  ++total_;
  ahead_.emplace(key.epoch, key.index);
  if (!warned_.insert(key.index).second) return;
  warn_(concat("data.on_bad_sample: skip: sample ", key.index, " of ", samples_,
               " cannot be read, the next one takes its place: ", message));
}

int64_t SkippedSamples::total() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

void SkippedSamples::train_on(std::span<const SampleKey> keys) {
  const std::lock_guard lock(mutex_);
  if (ahead_.empty()) return;
  for (const SampleKey& key : keys) {
    if (ahead_.erase({key.epoch, key.index}) == 0) continue;
    const auto epoch = static_cast<size_t>(key.epoch);
    if (trained_on_.size() <= epoch) trained_on_.resize(epoch + 1);
    ++trained_on_[epoch];
  }
}

std::vector<int64_t> SkippedSamples::trained_on() const {
  const std::lock_guard lock(mutex_);
  return trained_on_;
}

void SkippedSamples::restore(const std::vector<int64_t>& by_epoch) {
  const std::lock_guard lock(mutex_);
  trained_on_ = by_epoch;
}

void check_skipped(int64_t count, int64_t samples) {
  if (static_cast<double>(count) <= SkippedSamples::most() * static_cast<double>(samples)) return;
  fail(ExitCode::kBadData, "data.on_bad_sample: skip: ", count, " samples of an epoch's ", samples,
       " could not be read; legal: at most ", 100 * SkippedSamples::most(), " %");
}

}  // namespace largo::data
