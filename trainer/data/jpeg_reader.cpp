#include "trainer/data/jpeg_reader.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE
#include <cstring>
#include <utility>

#include <jpeglib.h>

#include <jerror.h>  // after jpeglib.h, whose settings decide what is in it

#include "comm/base/error.h"

namespace largo::data {

namespace {

// A progressive file's cost is its size times its scans; encoders write about ten.
constexpr int kMostScans = 500;

// Fancy upsampling looks at the neighbouring pixel on each side.
constexpr int64_t kMargin = 2;

// libjpeg's way out of an error. Nothing with a destructor may live in the functions in between.
struct Errors {
  jpeg_error_mgr manager;  // first: libjpeg hands back a pointer to it
  std::jmp_buf exit;
  char message[JMSG_LENGTH_MAX];
};

Errors& errors_of(j_common_ptr jpeg) { return *reinterpret_cast<Errors*>(jpeg->err); }

[[noreturn]] void leave(j_common_ptr jpeg) { std::longjmp(errors_of(jpeg).exit, 1); }

[[noreturn]] void on_error(j_common_ptr jpeg) {
  (*jpeg->err->format_message)(jpeg, errors_of(jpeg).message);
  leave(jpeg);
}

// Images of well-known data sets cause these, and lose no pixel. After the other warnings libjpeg
// goes on with pixels that it made up.
bool is_harmless(int warning) {
  switch (warning) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
      return true;
    default:
      return false;
  }
}

void on_message(j_common_ptr jpeg, int level) {
  if (level < 0 && !is_harmless(jpeg->err->msg_code)) on_error(jpeg);
}

void on_progress(j_common_ptr jpeg) {
  const auto* reader = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (reader->input_scan_number <= kMostScans) return;
  std::snprintf(errors_of(jpeg).message, JMSG_LENGTH_MAX, "more than %d scans", kMostScans);
  leave(jpeg);
}

// a * b / 255, rounded to nearest.
int scaled(int a, int b) {
  const int product = a * b + 128;
  return (product + (product >> 8)) >> 8;
}

// As Pillow does, CMYK is taken to be inverted whatever the file says: 255 is no ink.
void cmyk_to_rgb(const uint8_t* from, int64_t pixels, uint8_t* to) {
  for (int64_t x = 0; x < pixels; ++x, from += 4, to += 3) {
    for (int c = 0; c < 3; ++c) {
      to[c] = static_cast<uint8_t>(from[3] - scaled(255 - from[c], from[3]));
    }
  }
}

// The largest of 1, 2, 4, 8 by which `rect` can be reduced without falling below the size.
int choose_reduction(const Rect& rect, int64_t height, int64_t width) {
  int reduction = 1;
  while (reduction < 8 && rect.height >= height * 2 * reduction &&
         rect.width >= width * 2 * reduction) {
    reduction *= 2;
  }
  return reduction;
}

// The edges move to the nearest ones between larger pixels, so that no side gets shorter than its
// length divided by `reduction` and rounded down.
Rect reduced(const Rect& rect, int reduction) {
  const auto nearest = [reduction](int64_t edge) { return (edge + reduction / 2) / reduction; };
  const int64_t top = nearest(rect.top), left = nearest(rect.left);
  return {top, left, nearest(rect.top + rect.height) - top, nearest(rect.left + rect.width) - left};
}

}  // namespace

// The methods return false after an error, with its message in `errors`.
struct JpegReader::State {
  Errors errors{};
  jpeg_progress_mgr progress{};
  jpeg_decompress_struct jpeg{};

  ~State() { jpeg_destroy_decompress(&jpeg); }

  bool read_header(std::span<const uint8_t> file) {
    jpeg.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = on_error;
    errors.manager.emit_message = on_message;
    if (setjmp(errors.exit) != 0) return false;
    jpeg_create_decompress(&jpeg);
    progress.progress_monitor = on_progress;
    jpeg.progress = &progress;
    jpeg_mem_src(&jpeg, file.data(), file.size());
    jpeg_read_header(&jpeg, TRUE);
    return true;
  }

  bool read_pixels(const Rect& rect, int64_t channels, int reduction, uint8_t* to) {
    if (setjmp(errors.exit) != 0) return false;
    jpeg.scale_num = 1;
    jpeg.scale_denom = static_cast<unsigned>(reduction);
    jpeg.out_color_space = output_space(channels);
    jpeg.do_block_smoothing = FALSE;  // only guesses what is missing
    jpeg_start_decompress(&jpeg);
    const int64_t skipped = crop_columns(rect);
    jpeg_skip_scanlines(&jpeg, static_cast<JDIMENSION>(rect.top));
    const JSAMPARRAY row = (*jpeg.mem->alloc_sarray)(
        reinterpret_cast<j_common_ptr>(&jpeg), JPOOL_IMAGE,
        jpeg.output_width * static_cast<JDIMENSION>(jpeg.output_components), 1);
    const int64_t row_bytes = rect.width * channels;
    for (int64_t y = 0; y < rect.height; ++y) {
      jpeg_read_scanlines(&jpeg, row, 1);
      const uint8_t* from = row[0] + skipped * jpeg.output_components;
      if (jpeg.out_color_space == JCS_CMYK) {
        cmyk_to_rgb(from, rect.width, to + y * row_bytes);
      } else {
        std::memcpy(to + y * row_bytes, from, static_cast<size_t>(row_bytes));
      }
    }
    jpeg_abort_decompress(&jpeg);
    return true;
  }

 private:
  J_COLOR_SPACE output_space(int64_t channels) const {
    if (jpeg.num_components == 4) return JCS_CMYK;
    return channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  }

  // Has only the columns around `rect` decoded; the number of those before it.
  int64_t crop_columns(const Rect& rect) {
    // With factors above two, libjpeg-turbo before 3.0 miscalculates the width of reduced chroma.
    if (jpeg.max_h_samp_factor > 2 || jpeg.max_v_samp_factor > 2) return rect.left;
    const int64_t first = std::max<int64_t>(rect.left - kMargin, 0);
    const int64_t end = std::min<int64_t>(rect.left + rect.width + kMargin, jpeg.output_width);
    auto left = static_cast<JDIMENSION>(first), width = static_cast<JDIMENSION>(end - first);
    jpeg_crop_scanline(&jpeg, &left, &width);  // moves `left` to the start of a block
    return rect.left - left;
  }
};

JpegReader::JpegReader(std::span<const uint8_t> file, std::string name)
    : name_(std::move(name)), state_(std::make_unique<State>()) {
  if (!state_->read_header(file)) {
    fail(ExitCode::kBadData, name_, ": is no JPEG image: ", state_->errors.message);
  }
  const jpeg_decompress_struct& jpeg = state_->jpeg;
  if (jpeg.jpeg_color_space == JCS_UNKNOWN) {
    fail(ExitCode::kBadData, name_, ": is a JPEG image of ", jpeg.num_components,
         " components; legal: grey, RGB, YCbCr, CMYK, YCCK");
  }
}

JpegReader::~JpegReader() = default;

ImageHeader JpegReader::header() const {
  const jpeg_decompress_struct& jpeg = state_->jpeg;
  return {.format = ImageHeader::Format::kJpeg,
          .height = jpeg.image_height,
          .width = jpeg.image_width,
          .grey = jpeg.num_components == 1};
}

void JpegReader::read(const Rect& rect, int64_t channels, int64_t height, int64_t width,
                      Image& image) {
  const int reduction = choose_reduction(rect, height, width);
  const Rect part = reduced(rect, reduction);
  image.resize(part.height, part.width, channels);
  if (!state_->read_pixels(part, channels, reduction, image.pixels.data())) {
    fail(ExitCode::kBadData, name_, ": cannot be decoded: ", state_->errors.message);
  }
}

}  // namespace largo::data
