// Data sets whose samples are JPEG or PNG files, wherever those lie.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/data/dataset.h"

namespace largo::data {

// Derived classes know where a file's bytes are; this one decodes them.
class EncodedDataset : public Dataset {
 public:
  // `shape` is what shape() returns; shape.channels (1 or 3) is what images are decoded to.
  explicit EncodedDataset(SampleShape shape) : shape_(shape) {}

  SampleShape shape() const final { return shape_; }
  void read(int64_t index, const Framing& framing, Image& image) const final;

 protected:
  // The encoded file. Thread-safe. Throws Error{kBadData} or Error{kIo}.
  virtual void fetch(int64_t index, std::vector<uint8_t>& file) const = 0;

  // File, or shard, key and byte offset: for messages.
  virtual std::string name(int64_t index) const = 0;

 private:
  SampleShape shape_;
};

}  // namespace largo::data
