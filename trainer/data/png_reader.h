// PNG files to pixels, with libpng.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "trainer/data/decode.h"

namespace largo::data {

bool is_png(std::span<const uint8_t> file);  // by its first eight bytes

// Reads one file once. `file` must outlive the reader. Throws Error{kBadData}, naming `name`, as
// decode.h says.
class PngReader {
 public:
  // Reads the header, which may hold any size.
  PngReader(std::span<const uint8_t> file, std::string name);
  ~PngReader();

  ImageHeader header() const { return header_; }

  // The pixels inside `rect`, as three channels, or as one where the image is grey; 16 bits are
  // rounded to 8. Checks the file to its end.
  void read(const Rect& rect, int64_t channels, Image& image);

 private:
  struct State;

  std::string name_;
  ImageHeader header_;
  std::unique_ptr<State> state_;
};

}  // namespace largo::data
