#include "trainer/data/png_reader.h"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include <png.h>

#include "comm/base/error.h"
#include "trainer/data/image_rect.h"

namespace largo::data {

namespace {

constexpr std::array<uint8_t, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

// The signature, then the chunk IHDR: its length (13) and name, width, height, bit depth, colour
// type and four bytes more.
constexpr size_t kHeaderBytes = 33;
constexpr std::array<uint8_t, 8> kHeaderChunk = {0, 0, 0, 13, 'I', 'H', 'D', 'R'};

bool holds(std::span<const uint8_t> file, size_t at, std::span<const uint8_t> bytes) {
  return file.size() >= at + bytes.size() &&
         std::equal(bytes.begin(), bytes.end(), file.begin() + static_cast<ptrdiff_t>(at));
}

ImageHeader read_header(std::span<const uint8_t> file, const std::string& name) {
  if (file.size() < kHeaderBytes || !holds(file, kSignature.size(), kHeaderChunk)) {
    fail(ExitCode::kBadData, name, ": is no PNG image: its header is cut off or damaged");
  }
  const auto number = [&](size_t at) {
    return int64_t{file[at]} << 24 | file[at + 1] << 16 | file[at + 2] << 8 | file[at + 3];
  };
  return {.format = ImageHeader::Format::kPng,
          .height = number(20),
          .width = number(16),
          .grey = (file[25] & (PNG_COLOR_MASK_COLOR | PNG_COLOR_MASK_PALETTE)) == 0};
}

}  // namespace

bool is_png(std::span<const uint8_t> file) { return holds(file, 0, kSignature); }

// libpng leaves errors by longjmp, so that nothing with a destructor may live in the functions in
// between. The methods return false after an error, with its text in `message`.
struct PngReader::State {
  std::span<const uint8_t> rest;  // of the file
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::jmp_buf exit{};
  std::array<char, 256> message{"no memory for libpng"};
  std::vector<uint8_t> row;

  explicit State(std::span<const uint8_t> file) : rest(file) {}
  ~State() { png_destroy_read_struct(&png, &info, nullptr); }

  static State& of(png_structp png) { return *static_cast<State*>(png_get_error_ptr(png)); }

  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    State& state = of(png);
    std::snprintf(state.message.data(), state.message.size(), "%s", text);
    std::longjmp(state.exit, 1);
  }

  // Warnings concern bytes that no pixel depends on.
  static void on_warning(png_structp, png_const_charp) {}

  static void on_read(png_structp png, png_bytep to, size_t bytes) {
    std::span<const uint8_t>& rest = of(png).rest;
    if (bytes > rest.size()) png_error(png, "the file ends early");
    std::memcpy(to, rest.data(), bytes);
    rest = rest.subspan(bytes);
  }

  // Up to the first row. Sets what the rows are turned into.
  bool start(int64_t channels) {
    if (setjmp(exit) != 0) return false;
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) return false;
    png_set_read_fn(png, this, on_read);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    // What says nothing of the pixels is passed over, whatever it unpacks to.
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_chunk_malloc_max(png, 0);
    png_read_info(png, info);
    png_set_scale_16(png);
    png_set_expand(png);  // palettes and fewer than eight bits; transparency becomes alpha
    png_set_strip_alpha(png);
    if (channels == 3) png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return true;
  }

  bool interlaced() const { return png_get_interlace_type(png, info) != PNG_INTERLACE_NONE; }

  // Every pass over an interlaced image fills in some of its pixels.
  bool read_interlaced(uint8_t* to, int64_t height, int64_t row_bytes) {
    if (setjmp(exit) != 0) return false;
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; ++pass) {
      for (int64_t y = 0; y < height; ++y) png_read_row(png, to + y * row_bytes, nullptr);
    }
    png_read_end(png, nullptr);
    return true;
  }

  bool read_rows(const Rect& rect, int64_t channels, uint8_t* to) {
    if (setjmp(exit) != 0) return false;
    for (int64_t y = 0; y < rect.top; ++y) png_read_row(png, row.data(), nullptr);
    const int64_t row_bytes = rect.width * channels;
    for (int64_t y = 0; y < rect.height; ++y) {
      png_read_row(png, row.data(), nullptr);
      std::memcpy(to + y * row_bytes, row.data() + rect.left * channels,
                  static_cast<size_t>(row_bytes));
    }
    png_read_end(png, nullptr);
    return true;
  }
};

PngReader::PngReader(std::span<const uint8_t> file, std::string name)
    : name_(std::move(name)),
      header_(read_header(file, name_)),
      state_(std::make_unique<State>(file)) {}

PngReader::~PngReader() = default;

void PngReader::read(const Rect& rect, int64_t channels, Image& image) {
  State& state = *state_;
  const auto check = [&](bool done) {
    if (!done) fail(ExitCode::kBadData, name_, ": cannot be decoded: ", state.message.data());
  };
  check(state.start(channels));
  const int64_t row_bytes = header_.width * channels;
  LARGO_CHECK(static_cast<int64_t>(png_get_rowbytes(state.png, state.info)) == row_bytes, name_,
              ": rows of ", png_get_rowbytes(state.png, state.info), " bytes, not ", row_bytes);
  if (state.interlaced()) {
    image.resize(header_.height, header_.width, channels);
    check(state.read_interlaced(image.pixels.data(), header_.height, row_bytes));
    cut_out(rect, image);
  } else {
    image.resize(rect.height, rect.width, channels);
    state.row.resize(static_cast<size_t>(row_bytes));
    check(state.read_rows(rect, channels, image.pixels.data()));
  }
}

}  // namespace largo::data
