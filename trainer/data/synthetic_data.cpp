#include "trainer/data/synthetic_data.h"

#include <array>

#include "trainer/base/keyed_random.h"
#include "trainer/data/image_rect.h"

namespace largo::data {

namespace {

constexpr int64_t kTrainSamples = 10240;
constexpr int64_t kValSamples = 2048;
constexpr int64_t kClasses = 10;
constexpr int64_t kGrid = 4;  // a class's pattern is so many cells high and wide

// What the stream of kSynthetic numbers is for; the second key is a class or a sample's index.
enum Stream : uint32_t { kPattern, kTrainNoise, kValNoise };

// 80 … 175: with noise of −80 … 79 on top every pixel stays a byte.
constexpr uint32_t kLowest = 80, kCellRange = 96, kNoiseRange = 160, kNoiseLow = 80;

class SyntheticDataset final : public Dataset {
 public:
  SyntheticDataset(const DataOptions& options, uint64_t seed, Stream noise, int64_t size)
      : shape_{options.shape[0], options.shape[1], options.shape[2]},
        classes_(options.classes.value_or(kClasses)),
        seed_(seed),
        noise_(noise),
        size_(size) {}

  int64_t size() const override { return size_; }
  SampleShape shape() const override { return shape_; }
  int64_t classes() const override { return classes_; }
  int64_t label(int64_t index) const override { return index % classes_; }

  void read(int64_t index, const Framing& framing, Image& image) const override {
    image.resize(shape_.height, shape_.width, shape_.channels);
    draw(index, image.pixels.data());
    cut_out(choose_rect(framing, shape_.height, shape_.width), image);
  }

 private:
  void draw(int64_t index, uint8_t* hwc) const {
    const std::vector<uint8_t> cells = pattern(label(index));
    KeyedRandom random(seed_, Purpose::kSynthetic, noise_, static_cast<uint64_t>(index));
    uint32_t bits = 0;
    size_t at = 0;
    for (int64_t y = 0; y < shape_.height; ++y) {
      const int64_t row = y * kGrid / shape_.height * kGrid;
      for (int64_t x = 0; x < shape_.width; ++x) {
        const uint8_t* cell = &cells[(row + x * kGrid / shape_.width) * shape_.channels];
        for (int64_t c = 0; c < shape_.channels; ++c, ++at, bits >>= 8) {
          if (at % 4 == 0) bits = random.next_u32();  // one number serves four bytes
          hwc[at] = static_cast<uint8_t>(cell[c] + ((bits & 0xff) * kNoiseRange >> 8) - kNoiseLow);
        }
      }
    }
  }

  // The class's grid of cells, each with one value per channel.
  std::vector<uint8_t> pattern(int64_t label) const {
    KeyedRandom random(seed_, Purpose::kSynthetic, kPattern, static_cast<uint64_t>(label));
    std::vector<uint8_t> cells(kGrid * kGrid * shape_.channels);
    for (uint8_t& cell : cells) {
      cell = static_cast<uint8_t>(kLowest + (uint64_t{random.next_u32()} * kCellRange >> 32));
    }
    return cells;
  }

  SampleShape shape_;
  int64_t classes_;
  uint64_t seed_;
  Stream noise_;
  int64_t size_;
};

DataInfo describe_synthetic(const DataOptions& options, const std::string&) {
  return {.train_samples = options.limit.value_or(kTrainSamples),
          .val_samples = kValSamples,
          .shape = {options.shape[0], options.shape[1], options.shape[2]},
          .classes = options.classes.value_or(kClasses)};
}

Datasets load_synthetic(const DataOptions& options, const std::string& index, uint64_t seed) {
  const DataInfo info = describe_synthetic(options, index);
  Datasets sets;
  sets.train = std::make_unique<SyntheticDataset>(options, seed, kTrainNoise, info.train_samples);
  sets.val = std::make_unique<SyntheticDataset>(options, seed, kValNoise, kValSamples);
  sets.mean.assign(static_cast<size_t>(info.shape.channels), 0.5);
  sets.std.assign(static_cast<size_t>(info.shape.channels), 0.2);
  return sets;
}

}  // namespace

DataKind synthetic_data() { return {.describe = describe_synthetic, .load = load_synthetic}; }

}  // namespace largo::data
