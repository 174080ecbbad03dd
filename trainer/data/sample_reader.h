// From a sample's key to its pixels: read, resized, cropped, mirrored, cut out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/base/sample_key.h"
#include "trainer/data/augment.h"
#include "trainer/data/dataset.h"
#include "trainer/data/framing.h"
#include "trainer/data/options.h"
#include "trainer/data/resize.h"
#include "trainer/data/skipped_samples.h"

namespace largo::data {

// In nanoseconds.
struct ReadTimes {
  int64_t read = 0;
  int64_t resize = 0;
  int64_t augment = 0;
};

// Reads samples of a data set at one size. `dataset` and `skipped` must outlive it. Thread-safe.
//
// With skipped == nullptr a sample whose read() throws is an error. Otherwise, if it throws
// Error{kBadData}, the sample of the next index takes its place, label and all (index + 1, and so
// on, at most 100 of them, after the last comes 0), with the framing and augmentation of the
// key that was asked for: which sample that is depends on nothing else. Other errors are thrown.
class SampleReader {
 public:
  // framing: size and cut of the samples. mean: see mean_colour().
  SampleReader(const Dataset& dataset, const Framing& framing, const AugmentOptions& augment,
               std::span<const double> mean, uint64_t seed, SkippedSamples* skipped);

  SampleShape shape() const { return shape_; }

  // Memory that is used again from sample to sample, by one thread at a time.
  struct Scratch {
    Image image;
    Image resized;
    Resizer resizer;
    ReadTimes times;  // added to
  };

  // Writes shape().values() bytes and returns the label. `counts`: a replacement is reported to
  // `skipped`.
  int64_t read(const SampleKey& key, bool counts, Scratch& scratch, uint8_t* to) const;

 private:
  int64_t read_or_replace(const SampleKey& key, bool counts, Image& image) const;

  const Dataset& dataset_;
  SampleShape shape_;
  Framing framing_;
  AugmentOptions augment_;
  std::vector<uint8_t> fill_;
  uint64_t seed_;
  SkippedSamples* skipped_;
};

}  // namespace largo::data
