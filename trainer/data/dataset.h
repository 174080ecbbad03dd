// What every data set offers, whatever its files look like.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace largo::data {

struct SampleShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;

  int64_t values() const { return channels * height * width; }
  friend bool operator==(const SampleShape&, const SampleShape&) = default;
};

// Labelled images of one shape. All members may be called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  virtual SampleShape shape() const = 0;
  virtual int64_t classes() const = 0;

  // In 0 … classes() − 1; index in 0 … size() − 1.
  virtual int64_t label(int64_t index) const = 0;

  // Writes the pixels, row by row with a pixel's channels together (height, width, channels).
  // `hwc` holds shape().values() bytes. Throws Error{kBadData} for a sample that cannot be read.
  virtual void read(int64_t index, std::span<uint8_t> hwc) const = 0;
};

// What is known of a data set without reading its pixels.
struct DataInfo {
  int64_t train_samples = 0;  // after data.limit
  int64_t val_samples = 0;
  SampleShape shape;
  int64_t classes = 0;
};

struct Datasets {
  std::unique_ptr<const Dataset> train;
  std::unique_ptr<const Dataset> val;
  std::vector<double> mean;  // per channel, of pixels scaled to 0..1
  std::vector<double> std;
};

}  // namespace largo::data
