// Any bytes are an image or an Error, never a crash. Small images are decoded, whole and in part.
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/decode.h"

namespace largo::data {
namespace {

constexpr int64_t kMostDecoded = 1 << 14;  // pixels: a large image says nothing more, and is slow

void decode(std::span<const uint8_t> file) {
  const ImageHeader header = read_image_header(file, "fuzz");
  LARGO_CHECK(header.height > 0 && header.width > 0 && header.height * header.width <= kMostPixels,
              "header");
  if (header.height * header.width > kMostDecoded) return;
  Image image;
  const Framing framings[] = {
      {.cut = Cut::kWhole, .height = header.height, .width = header.width},
      {.cut = Cut::kCenter, .height = 3, .width = 2, .share = 0.5},
      {.cut = Cut::kRandom, .height = 4, .width = 4, .seed = 1, .key = {.index = 7}},
  };
  for (const Framing& framing : framings) {
    for (const int64_t channels : {1, 3}) {
      if (channels == 1 && !header.grey) continue;
      try {
        decode_image(file, channels, framing, "fuzz", image);
      } catch (const Error& error) {
        if (error.code() != ExitCode::kBadData) throw;
        continue;
      }
      const Rect rect = choose_rect(framing, header.height, header.width);
      LARGO_CHECK(image.height > 0 && image.height <= rect.height && image.width > 0 &&
                      image.width <= rect.width && image.channels == channels,
                  image.height, " x ", image.width, " of ", rect.height, " x ", rect.width);
      uint64_t sum = 0;  // every pixel is read: the sanitizers see those that are not there
      for (int64_t i = 0; i < image.height * image.width * channels; ++i) {
        sum += image.pixels[static_cast<size_t>(i)];
      }
      LARGO_CHECK(sum <= 255ULL * image.pixels.size(), "pixels");
    }
  }
}

uint32_t big_endian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

// The chunks of a PNG file get the checksum they should have: otherwise hardly any change comes
// past it.
std::vector<uint8_t> repaired(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> file(bytes.begin(), bytes.end());
  constexpr size_t kSignature = 8, kAround = 12;  // length, name and checksum of a chunk
  if (file.size() < kSignature || file[0] != 0x89) return file;
  for (size_t at = kSignature; at + kAround <= file.size();) {
    const size_t length = big_endian(&file[at]);
    if (length > file.size() - at - kAround) break;
    const uLong sum = crc32_z(0, &file[at + 4], length + 4);
    for (size_t i = 0; i < 4; ++i) {
      file[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    }
    at += kAround + length;
  }
  return file;
}

}  // namespace
}  // namespace largo::data

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    largo::data::decode(largo::data::repaired(std::span(data, size)));
  } catch (const largo::Error& error) {
    if (error.code() != largo::ExitCode::kBadData) throw;
  }
  return 0;
}
