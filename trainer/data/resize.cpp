#include "trainer/data/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "comm/base/error.h"

namespace largo::data {

namespace {

constexpr int kPrecision = 22;
constexpr uint32_t kHalf = 1u << (kPrecision - 1);

// Eight numbers that are computed side by side. Unsigned, so that no input can overflow them: the
// weights of a pixel sum to less than twice 2^22.
constexpr int64_t kLanes = 8;
using Lanes [[gnu::vector_size(4 * kLanes)]] = uint32_t;
using Bytes [[gnu::vector_size(kLanes)]] = uint8_t;
using WideBytes [[gnu::vector_size(4 * kLanes)]] = uint8_t;

void make_taps(int64_t from, int64_t to, Resizer::Taps& taps) {
  taps.first.clear();
  taps.count.clear();
  taps.weights.clear();
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double half_width = std::max(scale, 1.0), slope = 1 / half_width;
  std::vector<double> weights;
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = static_cast<int64_t>(std::max(0.0, centre - half_width + 0.5));
    const auto end = std::min<int64_t>(from, static_cast<int64_t>(centre + half_width + 0.5));
    double sum = 0;
    weights.clear();
    for (int64_t x = first; x < end; ++x) {
      const double distance = std::abs((static_cast<double>(x) - centre + 0.5) * slope);
      weights.push_back(std::max(0.0, 1 - distance));
      sum += weights.back();
    }
    taps.first.push_back(first);
    taps.count.push_back(end - first);
    for (const double weight : weights) {
      taps.weights.push_back(static_cast<uint32_t>(0.5 + weight / sum * (1 << kPrecision)));
    }
  }
}

// Rounded sums as pixel values.
[[gnu::always_inline]] inline void store_bytes(const Lanes& sums, uint8_t* to) {
  const Lanes rounded = sums >> kPrecision;
  const Lanes clipped = rounded < 255 ? rounded : 255 + Lanes{};
  const auto bytes = reinterpret_cast<const WideBytes&>(clipped);
  const Bytes low = __builtin_shufflevector(bytes, bytes, 0, 4, 8, 12, 16, 20, 24, 28);
  std::memcpy(to, &low, sizeof(low));
}

// Pixels of several rows side by side, in kLanes lanes: eight rows of grey images, or two of
// colours with an unused lane after each. `from` is the first row.
template <int64_t kChannels>
[[gnu::always_inline]] inline void widen(const uint8_t* from, int64_t rows, int64_t width,
                                         uint32_t* wide) {
  constexpr int64_t kPerRow = kChannels == 1 ? 1 : 4;
  for (int64_t row = 0; row < rows; ++row, from += width * kChannels) {
    for (int64_t x = 0; x < width; ++x) {
      uint32_t* to = wide + x * kLanes + row * kPerRow;
      for (int64_t c = 0; c < kChannels; ++c) to[c] = from[x * kChannels + c];
    }
  }
}

// The pass along the rows. `wide` has room for one of them.
template <int64_t kChannels>
[[gnu::always_inline]] inline void filter_rows(const uint8_t* from, int64_t height, int64_t width,
                                               const Resizer::Taps& taps, uint32_t* wide,
                                               uint8_t* to) {
  constexpr int64_t kPerRow = kChannels == 1 ? 1 : 4, kRows = kLanes / kPerRow;
  const auto new_width = static_cast<int64_t>(taps.first.size());
  for (int64_t y = 0; y < height; y += kRows) {
    const int64_t rows = std::min(kRows, height - y);
    widen<kChannels>(from + y * width * kChannels, rows, width, wide);
    const uint32_t* weight = taps.weights.data();
    for (int64_t x = 0; x < new_width; ++x) {
      const uint32_t* pixel = wide + taps.first[x] * kLanes;
      Lanes sums = kHalf + Lanes{};
      for (int64_t tap = 0; tap < taps.count[x]; ++tap, pixel += kLanes) {
        Lanes values;
        std::memcpy(&values, pixel, sizeof(values));
        sums += values * *weight++;
      }
      std::array<uint8_t, kLanes> bytes;
      store_bytes(sums, bytes.data());
      for (int64_t row = 0; row < rows; ++row) {
        uint8_t* pixel_to = to + ((y + row) * new_width + x) * kChannels;
        for (int64_t c = 0; c < kChannels; ++c) pixel_to[c] = bytes[row * kPerRow + c];
      }
    }
  }
}

// The pass along the columns.
[[gnu::always_inline]] inline void filter_columns(const uint8_t* from, int64_t row_bytes,
                                                  const Resizer::Taps& taps, uint8_t* to) {
  constexpr int64_t kBlock = 64;  // values at a time: as many as registers hold
  std::array<uint32_t, kBlock> sums;
  const uint32_t* weights = taps.weights.data();
  for (size_t y = 0; y < taps.first.size(); weights += taps.count[y], ++y, to += row_bytes) {
    for (int64_t at = 0; at < row_bytes; at += kBlock) {
      const int64_t values = std::min(kBlock, row_bytes - at);
      const uint8_t* row = from + taps.first[y] * row_bytes + at;
      sums.fill(kHalf);
      for (int64_t tap = 0; tap < taps.count[y]; ++tap, row += row_bytes) {
        const uint32_t weight = weights[tap];
        for (int64_t i = 0; i < values; ++i) sums[i] += weight * row[i];
      }
      for (int64_t i = 0; i < values; ++i) {
        to[at + i] = static_cast<uint8_t>(std::min(sums[i] >> kPrecision, 255u));
      }
    }
  }
}

// Both passes. Written once, compiled for each kind of processor.
template <int64_t kChannels>
[[gnu::always_inline]] inline void filter(const Image& from, const Resizer::Taps& horizontal,
                                          const Resizer::Taps& vertical, uint32_t* wide,
                                          uint8_t* between, uint8_t* to) {
  filter_rows<kChannels>(from.pixels.data(), from.height, from.width, horizontal, wide, between);
  const auto width = static_cast<int64_t>(horizontal.first.size());
  filter_columns(between, width * kChannels, vertical, to);
}

template <int64_t kChannels>
void filter_anywhere(const Image& from, const Resizer::Taps& horizontal,
                     const Resizer::Taps& vertical, uint32_t* wide, uint8_t* between, uint8_t* to) {
  filter<kChannels>(from, horizontal, vertical, wide, between, to);
}

#ifdef __x86_64__
template <int64_t kChannels>
[[gnu::target("avx2")]] void filter_avx2(const Image& from, const Resizer::Taps& horizontal,
                                         const Resizer::Taps& vertical, uint32_t* wide,
                                         uint8_t* between, uint8_t* to) {
  filter<kChannels>(from, horizontal, vertical, wide, between, to);
}

template <int64_t kChannels>
auto* choose_filter() {
  return __builtin_cpu_supports("avx2") ? filter_avx2<kChannels> : filter_anywhere<kChannels>;
}
#else
template <int64_t kChannels>
auto* choose_filter() {
  return filter_anywhere<kChannels>;
}
#endif

}  // namespace

void Resizer::resize(const Image& from, int64_t height, int64_t width, Image& to) {
  LARGO_CHECK((from.channels == 1 || from.channels == 3) && from.height > 0 && from.width > 0 &&
                  height > 0 && width > 0,
              "an image of ", from.channels, " x ", from.height, " x ", from.width, " to ", height,
              " x ", width);
  make_taps(from.width, width, horizontal_);
  make_taps(from.height, height, vertical_);
  wide_.resize(static_cast<size_t>(from.width * kLanes));
  const auto between = static_cast<size_t>(from.height * width * from.channels);
  if (between_.size() < between) between_.resize(between);
  to.resize(height, width, from.channels);
  auto* const run = from.channels == 1 ? choose_filter<1>() : choose_filter<3>();
  run(from, horizontal_, vertical_, wide_.data(), between_.data(), to.pixels.data());
}

}  // namespace largo::data
