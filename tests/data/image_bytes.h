// Made-up JPEG and PNG files for tests.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/data/dataset.h"

namespace largo::data {

// Smooth shapes, edges and a little noise; the same for the same arguments. channels 1 … 4.
Image make_photo(int64_t height, int64_t width, int64_t channels, uint32_t seed = 1);

enum class JpegColour { kGrey, kYcc, kRgb, kCmyk, kYcck };

struct JpegStyle {
  JpegColour colour = JpegColour::kYcc;
  int quality = 90;
  int sampling_h = 1;  // 2 and 2: 4:2:0
  int sampling_v = 1;
  bool progressive = false;
  bool arithmetic = false;
  int restart_rows = 0;  // 0: no restart markers
};

// image.channels is 1 for kGrey, 4 for kCmyk and kYcck, otherwise 3. CMYK values are stored as they
// are.
std::vector<uint8_t> jpeg_bytes(const Image& image, const JpegStyle& style);

enum class PngColour { kGrey, kGreyAlpha, kRgb, kRgba, kPalette };

struct PngStyle {
  PngColour colour = PngColour::kRgb;
  int depth = 8;  // bits per sample
  bool interlaced = false;
  bool transparent_value = false;  // chunk tRNS: the first value, or palette entry, is transparent
};

// The palette entry i of kPalette is (i, 255 - i, 2 i mod 256).
// image.channels is what the colour says (1 for kPalette). Samples of 16 bits are the bytes times
// 257; of fewer than 8, the bytes must fit.
std::vector<uint8_t> png_bytes(const Image& image, const PngStyle& style);

}  // namespace largo::data
