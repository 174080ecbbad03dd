// What every data set offers, whatever its files look like.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "trainer/data/framing.h"

namespace largo::data {

struct SampleShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;

  int64_t values() const { return channels * height * width; }
  friend bool operator==(const SampleShape&, const SampleShape&) = default;
};

// Pixels row by row, a pixel's channels together. `pixels` may be larger than the image, so that
// one object serves images of many sizes without asking for memory again.
struct Image {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  std::vector<uint8_t> pixels;

  // Sets the size and makes room. The pixels are not cleared.
  void resize(int64_t new_height, int64_t new_width, int64_t new_channels) {
    height = new_height, width = new_width, channels = new_channels;
    const auto values = static_cast<size_t>(height * width * channels);
    if (pixels.size() < values) pixels.resize(values);
  }
};

// Labelled images. All members may be called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  virtual int64_t classes() const = 0;

  // Of the stored images; height and width are 0 where they differ from image to image.
  virtual SampleShape shape() const = 0;

  // In 0 … classes() − 1; index in 0 … size() − 1.
  virtual int64_t label(int64_t index) const = 0;

  // The pixels inside choose_rect(framing, the image's height, its width), possibly already reduced
  // in size, never below framing.height x framing.width unless the rectangle is smaller itself:
  // the caller brings them to that size. Throws Error{kBadData} for a sample that cannot be read,
  // or that has another size than framing asks for under Cut::kWhole.
  virtual void read(int64_t index, const Framing& framing, Image& image) const = 0;

  // What reading the sample fetches from storage; 0 where all is held in memory.
  virtual int64_t stored_bytes(int64_t) const { return 0; }

  // Number of the run of samples that lie together in storage, for data.shuffle: blocks. Grows with
  // the index.
  virtual int64_t shard(int64_t index) const { return index / 1024; }
};

// What is known of a data set without reading its pixels.
struct DataInfo {
  int64_t train_samples = 0;
  std::optional<int64_t> val_samples;  // none: the kind has no validation part here
  SampleShape shape;
  int64_t classes = 0;
};

struct Datasets {
  std::unique_ptr<const Dataset> train;
  std::unique_ptr<const Dataset> val;  // a kind leaves it empty where it has no such part
  std::vector<double> mean;            // per channel, of pixels scaled to 0..1
  std::vector<double> std;
};

}  // namespace largo::data
