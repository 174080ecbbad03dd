// JPEG files to pixels, with libjpeg-turbo.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "trainer/data/decode.h"

namespace largo::data {

// Reads one file once. `file` must outlive the reader. Throws Error{kBadData}, naming `name`, as
// decode.h says.
class JpegReader {
 public:
  // Reads the header, which may hold any size.
  JpegReader(std::span<const uint8_t> file, std::string name);
  ~JpegReader();

  ImageHeader header() const;

  // The pixels inside `rect`, as three channels, or as one where the image is grey. Reduced by 2, 4
  // or 8 where height x width pixels or more remain.
  void read(const Rect& rect, int64_t channels, int64_t height, int64_t width, Image& image);

 private:
  struct State;

  std::string name_;
  std::unique_ptr<State> state_;
};

}  // namespace largo::data
