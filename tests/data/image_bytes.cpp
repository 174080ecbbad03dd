#include "tests/data/image_bytes.h"

#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <random>

#include <jpeglib.h>
#include <png.h>

namespace largo::data {

namespace {

J_COLOR_SPACE colour_space(JpegColour colour, bool of_file) {
  switch (colour) {
    case JpegColour::kGrey:
      return JCS_GRAYSCALE;
    case JpegColour::kYcc:
      return of_file ? JCS_YCbCr : JCS_RGB;
    case JpegColour::kRgb:
      return JCS_RGB;
    case JpegColour::kCmyk:
      return JCS_CMYK;
    case JpegColour::kYcck:
      return of_file ? JCS_YCCK : JCS_CMYK;
  }
  std::abort();
}

int colour_type(PngColour colour) {
  switch (colour) {
    case PngColour::kGrey:
      return PNG_COLOR_TYPE_GRAY;
    case PngColour::kGreyAlpha:
      return PNG_COLOR_TYPE_GRAY_ALPHA;
    case PngColour::kRgb:
      return PNG_COLOR_TYPE_RGB;
    case PngColour::kRgba:
      return PNG_COLOR_TYPE_RGB_ALPHA;
    case PngColour::kPalette:
      return PNG_COLOR_TYPE_PALETTE;
  }
  std::abort();
}

void write_palette(png_structp png, png_infop info, int entries) {
  std::vector<png_color> palette;
  palette.reserve(static_cast<size_t>(entries));
  for (int i = 0; i < entries; ++i) {
    palette.push_back(
        {static_cast<png_byte>(i), static_cast<png_byte>(255 - i), static_cast<png_byte>(2 * i)});
  }
  png_set_PLTE(png, info, palette.data(), entries);
}

void write_transparency(png_structp png, png_infop info, bool palette) {
  const png_byte alpha = 0;
  const png_color_16 value = {};
  png_set_tRNS(png, info, palette ? &alpha : nullptr, 1, palette ? nullptr : &value);
}

}  // namespace

Image make_photo(int64_t height, int64_t width, int64_t channels, uint32_t seed) {
  Image image;
  image.resize(height, width, channels);
  std::mt19937 random(seed);
  std::vector<double> phase;
  for (int64_t c = 0; c < 3 * channels; ++c) phase.push_back(random() % 1000 / 100.0);
  size_t at = 0;
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const bool edge = (x / 23 + y / 17) % 5 == 0;
      for (int64_t c = 0; c < channels; ++c, ++at) {
        const double wave = std::sin(phase[3 * c] + x / (9.0 + c)) +
                            std::cos(phase[3 * c + 1] + y / (13.0 - c)) +
                            std::sin(phase[3 * c + 2] + (x + 2 * y) / 40.0);
        const double value = 128 + 30 * wave + (edge ? 25 : 0) + static_cast<int>(random() % 7) - 3;
        image.pixels[at] = static_cast<uint8_t>(std::lround(value));
      }
    }
  }
  return image;
}

std::vector<uint8_t> jpeg_bytes(const Image& image, const JpegStyle& style) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);  // ends the program
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_height = static_cast<JDIMENSION>(image.height);
  jpeg.image_width = static_cast<JDIMENSION>(image.width);
  jpeg.input_components = static_cast<int>(image.channels);
  jpeg.in_color_space = colour_space(style.colour, /*of_file=*/false);
  jpeg_set_defaults(&jpeg);
  jpeg_set_colorspace(&jpeg, colour_space(style.colour, /*of_file=*/true));
  jpeg_set_quality(&jpeg, style.quality, TRUE);
  jpeg.comp_info[0].h_samp_factor = style.sampling_h;
  jpeg.comp_info[0].v_samp_factor = style.sampling_v;
  if (style.colour == JpegColour::kYcck) {
    jpeg.comp_info[3].h_samp_factor = style.sampling_h;
    jpeg.comp_info[3].v_samp_factor = style.sampling_v;
  }
  if (style.progressive) jpeg_simple_progression(&jpeg);
  jpeg.arith_code = style.arithmetic ? TRUE : FALSE;
  jpeg.restart_in_rows = style.restart_rows;
  jpeg_start_compress(&jpeg, TRUE);
  const int64_t row_bytes = image.width * image.channels;
  for (int64_t y = 0; y < image.height; ++y) {
    JSAMPROW row = const_cast<JSAMPROW>(image.pixels.data() + y * row_bytes);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::vector<uint8_t> file(bytes, bytes + size);
  jpeg_destroy_compress(&jpeg);
  std::free(bytes);
  return file;
}

std::vector<uint8_t> png_bytes(const Image& image, const PngStyle& style) {
  std::vector<uint8_t> file;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png)) != 0) std::abort();
  const auto write = [](png_structp to, png_bytep from, size_t count) {
    auto& bytes = *static_cast<std::vector<uint8_t>*>(png_get_io_ptr(to));
    bytes.insert(bytes.end(), from, from + count);
  };
  png_set_write_fn(png, &file, write, nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width),
               static_cast<png_uint_32>(image.height), style.depth, colour_type(style.colour),
               style.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  const bool palette = style.colour == PngColour::kPalette;
  if (palette) write_palette(png, info, 1 << style.depth);
  if (style.transparent_value) write_transparency(png, info, palette);
  const int64_t row_values = image.width * image.channels;
  const int64_t copies = style.depth == 16 ? 2 : 1;
  std::vector<uint8_t> samples;
  for (int64_t at = 0; at < image.height * row_values; ++at) {
    samples.insert(samples.end(), static_cast<size_t>(copies), image.pixels[at]);
  }
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < image.height; ++y) {
    rows.push_back(samples.data() + y * row_values * copies);
  }
  png_set_rows(png, info, rows.data());
  png_write_png(png, info, style.depth < 8 ? PNG_TRANSFORM_PACKING : PNG_TRANSFORM_IDENTITY,
                nullptr);
  png_destroy_write_struct(&png, &info);
  return file;
}

}  // namespace largo::data
