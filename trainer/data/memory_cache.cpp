#include "trainer/data/memory_cache.h"

#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/resize.h"

namespace largo::data {

namespace {

enum State : uint8_t { kAbsent, kBeingWritten, kKept };

class KeptDataset final : public Dataset {
 public:
  KeptDataset(std::unique_ptr<const Dataset> set, const Framing& framing)
      : set_(std::move(set)),
        framing_(framing),
        shape_{set_->shape().channels, framing.height, framing.width},
        states_(static_cast<size_t>(set_->size())),
        // Not initialized: the system gives the memory when a sample is written.
        pixels_(new uint8_t[static_cast<size_t>(set_->size() * shape_.values())]) {}

  int64_t size() const override { return set_->size(); }
  int64_t classes() const override { return set_->classes(); }
  SampleShape shape() const override { return shape_; }
  int64_t label(int64_t index) const override { return set_->label(index); }
  int64_t shard(int64_t index) const override { return set_->shard(index); }
  int64_t stored_bytes(int64_t index) const override {
    return state(index).load(std::memory_order_relaxed) == kKept ? 0 : set_->stored_bytes(index);
  }

  void read(int64_t index, const Framing& framing, Image& image) const override {
    LARGO_CHECK(framing.cut == framing_.cut && framing.height == framing_.height &&
                    framing.width == framing_.width && framing.share == framing_.share,
                "samples are kept as ", framing_.height, " x ", framing_.width,
                " and asked for as ", framing.height, " x ", framing.width, " or cut otherwise");
    const auto values = static_cast<size_t>(shape_.values());
    uint8_t* const kept = pixels_.get() + static_cast<size_t>(index) * values;
    if (state(index).load(std::memory_order_acquire) == kKept) {
      image.resize(shape_.height, shape_.width, shape_.channels);
      std::memcpy(image.pixels.data(), kept, values);
      return;
    }
    set_->read(index, framing, image);
    if (image.height != shape_.height || image.width != shape_.width) {
      Image resized;
      Resizer().resize(image, shape_.height, shape_.width, resized);
      std::swap(image, resized);
    }
    uint8_t absent = kAbsent;
    if (!state(index).compare_exchange_strong(absent, kBeingWritten)) return;  // another thread's
    std::memcpy(kept, image.pixels.data(), values);
    state(index).store(kKept, std::memory_order_release);
  }

 private:
  std::atomic<uint8_t>& state(int64_t index) const { return states_[static_cast<size_t>(index)]; }

  std::unique_ptr<const Dataset> set_;
  Framing framing_;
  SampleShape shape_;
  mutable std::vector<std::atomic<uint8_t>> states_;
  std::unique_ptr<uint8_t[]> pixels_;  // of all samples, one after the other
};

}  // namespace

std::unique_ptr<const Dataset> keep_in_memory(std::unique_ptr<const Dataset> set,
                                              const Framing& framing, int64_t most_bytes) {
  const int64_t values = set->shape().channels * framing.height * framing.width;
  const bool possible = framing.cut != Cut::kRandom && set->size() <= most_bytes / values;
  if (!possible || set->stored_bytes(0) == 0) return set;
  return std::make_unique<KeptDataset>(std::move(set), framing);
}

}  // namespace largo::data
