#include "trainer/data/decode.h"

#include "comm/base/error.h"
#include "trainer/data/jpeg_reader.h"
#include "trainer/data/png_reader.h"

namespace largo::data {

namespace {

bool is_jpeg(std::span<const uint8_t> file) {
  return file.size() >= 3 && file[0] == 0xff && file[1] == 0xd8 && file[2] == 0xff;
}

[[noreturn]] void fail_unknown(std::span<const uint8_t> file, const std::string& name) {
  if (file.empty()) fail(ExitCode::kBadData, name, ": is empty; legal: JPEG, PNG");
  fail(ExitCode::kBadData, name, ": is neither a JPEG nor a PNG image, by its first bytes");
}

void check_size(const ImageHeader& header, const std::string& name) {
  const int64_t height = header.height, width = header.width;
  if (height < 1 || width < 1) {
    fail(ExitCode::kBadData, name, ": has ", height, " x ", width, " pixels; legal: at least one");
  }
  if (height > kLongestSide || width > kLongestSide || height * width > kMostPixels) {
    fail(ExitCode::kBadData, name, ": claims ", height, " x ", width, " pixels; legal: at most ",
         kMostPixels, ", no side over ", kLongestSide);
  }
}

// The rectangle to read, after all checks that the header allows.
Rect check_and_choose(const ImageHeader& header, int64_t channels, const Framing& framing,
                      const std::string& name) {
  check_size(header, name);
  if (channels == 1 && !header.grey) {
    fail(ExitCode::kBadData, name, ": is a colour image in a data set of grey ones");
  }
  const bool fits = header.height == framing.height && header.width == framing.width;
  if (framing.cut == Cut::kWhole && !fits) {
    fail(ExitCode::kBadData, name, ": has ", header.height, " x ", header.width,
         " pixels where others have ", framing.height, " x ", framing.width,
         "; give data.image_size to bring all to one size");
  }
  return choose_rect(framing, header.height, header.width);
}

}  // namespace

ImageHeader read_image_header(std::span<const uint8_t> file, const std::string& name) {
  ImageHeader header;
  if (is_jpeg(file)) {
    header = JpegReader(file, name).header();
  } else if (is_png(file)) {
    header = PngReader(file, name).header();
  } else {
    fail_unknown(file, name);
  }
  check_size(header, name);
  return header;
}

void decode_image(std::span<const uint8_t> file, int64_t channels, const Framing& framing,
                  const std::string& name, Image& image) {
  LARGO_CHECK(channels == 1 || channels == 3, channels, " channels; legal: 1, 3");
  LARGO_CHECK(framing.height > 0 && framing.width > 0, framing.height, " x ", framing.width);
  if (is_jpeg(file)) {
    JpegReader reader(file, name);
    const Rect rect = check_and_choose(reader.header(), channels, framing, name);
    reader.read(rect, channels, framing.height, framing.width, image);
  } else if (is_png(file)) {
    PngReader reader(file, name);
    const Rect rect = check_and_choose(reader.header(), channels, framing, name);
    reader.read(rect, channels, image);
  } else {
    fail_unknown(file, name);
  }
}

}  // namespace largo::data
