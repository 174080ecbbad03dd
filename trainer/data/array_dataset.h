// Data sets that are held in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/data/dataset.h"

namespace largo::data {

// Images of one size with one byte per label. Under Cut::kWhole that must be the framing's size.
class ArrayDataset final : public Dataset {
 public:
  // `pixels` holds labels.size() images one after the other, in (height, width, channels) order.
  ArrayDataset(SampleShape shape, int64_t classes, std::vector<uint8_t> pixels,
               std::vector<uint8_t> labels);

  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  int64_t classes() const override { return classes_; }
  SampleShape shape() const override { return shape_; }
  int64_t label(int64_t index) const override { return labels_[static_cast<size_t>(index)]; }
  void read(int64_t index, const Framing& framing, Image& image) const override;

 private:
  SampleShape shape_;
  int64_t classes_;
  std::vector<uint8_t> pixels_;
  std::vector<uint8_t> labels_;
};

}  // namespace largo::data
