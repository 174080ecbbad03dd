// JPEG and PNG files to pixels.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "trainer/data/dataset.h"
#include "trainer/data/framing.h"

namespace largo::data {

// More than any image of a training set has: a header that claims more is refused before memory is
// taken for it.
constexpr int64_t kMostPixels = 100'000'000;
constexpr int64_t kLongestSide = 65'535;  // the most that a JPEG header can say

struct ImageHeader {
  enum class Format { kJpeg, kPng };
  Format format = Format::kJpeg;
  int64_t height = 0;
  int64_t width = 0;
  bool grey = false;  // one channel, or one with alpha
};

// The format is seen from the content, not from the file's name. Throws Error{kBadData}, naming
// `name`, for other formats, truncated headers, no pixels, or more than the above.
ImageHeader read_image_header(std::span<const uint8_t> file, const std::string& name);

// What Dataset::read() asks for, of an image file in memory. channels 3: colour; grey images get
// three equal channels, CMYK ones are converted as Pillow does it, transparency is dropped.
// channels 1: the image must be grey. JPEG: only the rows and columns of the rectangle are decoded,
// and at 1/2, 1/4 or 1/8 of the size where that is still at least the sample's; the rectangle then
// moves by less than one of those larger pixels. Images are not turned by what EXIF says, as in
// PyTorch's ImageFolder. Throws Error{kBadData}, naming `name`, for everything that cannot be
// decoded to the last row asked for, for PNG chunks with a wrong checksum, and where libjpeg only
// warns that pixels are lost. Its warnings of stray bytes are passed over: known data sets cause
// them.
void decode_image(std::span<const uint8_t> file, int64_t channels, const Framing& framing,
                  const std::string& name, Image& image);

}  // namespace largo::data
