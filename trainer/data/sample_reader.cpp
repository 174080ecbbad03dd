#include "trainer/data/sample_reader.h"

#include <chrono>
#include <string>
#include <utility>

#include "comm/base/error.h"

namespace largo::data {

namespace {

constexpr int64_t kMostReplacements = 100;

class Stopwatch {
 public:
  // Nanoseconds since the last lap.
  int64_t lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::nanoseconds(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace

SampleReader::SampleReader(const Dataset& dataset, const Framing& framing,
                           const AugmentOptions& augment, std::span<const double> mean,
                           uint64_t seed, SkippedSamples* skipped)
    : dataset_(dataset),
      shape_{dataset.shape().channels, framing.height, framing.width},
      framing_(framing),
      augment_(augment),
      fill_(mean_colour(mean)),
      seed_(seed),
      skipped_(skipped) {
  framing_.seed = seed;
  LARGO_CHECK(shape_.values() > 0, "samples of ", framing.height, " x ", framing.width);
  LARGO_CHECK(static_cast<int64_t>(mean.size()) == shape_.channels, mean.size(), " means for ",
              shape_.channels, " channels");
}

int64_t SampleReader::read(const SampleKey& key, bool counts, Scratch& scratch, uint8_t* to) const {
  LARGO_CHECK(key.index >= 0 && key.index < dataset_.size(), "sample ", key.index, " of ",
              dataset_.size());
  Stopwatch watch;
  const int64_t label = read_or_replace(key, counts, scratch.image);
  scratch.times.read += watch.lap();
  const Image* image = &scratch.image;
  LARGO_CHECK(image->channels == shape_.channels, "sample ", key.index, " has ", image->channels,
              " channels instead of ", shape_.channels);
  if (image->height != shape_.height || image->width != shape_.width) {
    scratch.resizer.resize(*image, shape_.height, shape_.width, scratch.resized);
    image = &scratch.resized;
    scratch.times.resize += watch.lap();
  }
  place(image->pixels.data(), shape_, draw_placement(augment_, seed_, key), to);
  fill(to, shape_, draw_cutout(augment_, seed_, key, shape_.height, shape_.width), fill_);
  scratch.times.augment += watch.lap();
  return label;
}

int64_t SampleReader::read_or_replace(const SampleKey& key, bool counts, Image& image) const {
  Framing framing = framing_;
  framing.key = key;
  if (skipped_ == nullptr) {
    dataset_.read(key.index, framing, image);
    return dataset_.label(key.index);
  }
  std::string reason;
  for (int64_t i = 0; i <= kMostReplacements; ++i) {
    const int64_t index = (key.index + i) % dataset_.size();
    try {
      dataset_.read(index, framing, image);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kBadData) throw;
      if (i == 0) reason = error.what();
      continue;
    }
    if (i > 0 && counts) skipped_->add(key, reason);
    return dataset_.label(index);
  }
  fail(ExitCode::kBadData, reason, "; nor can the ", kMostReplacements,
       " samples after it be read (data.on_bad_sample: skip)");
}

}  // namespace largo::data
