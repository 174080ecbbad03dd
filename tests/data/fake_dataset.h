// A data set for tests whose pixels tell what they are.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/dataset.h"

namespace largo::data {

// Byte i of sample n is 4 n + i, for images of `stored`'s size, whatever the framing. Set the
// fields before other threads use it.
class FakeDataset final : public Dataset {
 public:
  explicit FakeDataset(int64_t samples = 50, SampleShape stored = {3, 4, 5})
      : samples(samples), stored(stored) {}

  int64_t size() const override { return samples; }
  int64_t classes() const override { return 10; }
  SampleShape shape() const override { return stored; }
  int64_t label(int64_t index) const override { return index % 10; }
  int64_t stored_bytes(int64_t) const override { return bytes_per_sample; }
  int64_t shard(int64_t index) const override {
    int64_t shard = 0;
    for (int64_t end = 0; shard < static_cast<int64_t>(shard_sizes.size()); ++shard) {
      end += shard_sizes[static_cast<size_t>(shard)];
      if (index < end) break;
    }
    return shard;
  }

  void read(int64_t index, const Framing& framing, Image& image) const override {
    ++reads;
    {
      const std::lock_guard lock(mutex_);
      framings_.push_back(framing);
    }
    if (broken.contains(index)) fail(broken_code, "sample ", index, " is broken");
    image.resize(stored.height, stored.width, stored.channels);
    for (int64_t i = 0; i < stored.values(); ++i)
      image.pixels[static_cast<size_t>(i)] = byte(index, i);
  }

  static uint8_t byte(int64_t index, int64_t i) { return static_cast<uint8_t>(4 * index + i); }

  // Of all reads so far.
  std::vector<Framing> framings() const {
    const std::lock_guard lock(mutex_);
    return framings_;
  }

  int64_t samples;
  SampleShape stored;
  std::set<int64_t> broken = {};
  ExitCode broken_code = ExitCode::kBadData;
  int64_t bytes_per_sample = 100;
  std::vector<int64_t> shard_sizes = {};
  mutable std::atomic<int64_t> reads = 0;

 private:
  mutable std::mutex mutex_;
  mutable std::vector<Framing> framings_;
};

}  // namespace largo::data
