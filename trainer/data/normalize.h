// From pixels to the numbers that a model sees.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace largo::data {

// (pixel / 255 − mean) / std for every channel and pixel value, computed in double and rounded
// once. T is float or double.
template <class T>
class PixelTable {
 public:
  PixelTable(std::span<const double> mean, std::span<const double> std);

  int64_t channels() const { return static_cast<int64_t>(values_.size() / 256); }

  // The 256 values of a channel.
  const T* channel(int64_t c) const { return values_.data() + 256 * c; }

 private:
  std::vector<T> values_;
};

// Both sides hold whole pixels, the channels of each together.
template <class T>
void normalize(std::span<const uint8_t> pixels, const PixelTable<T>& table, T* to);

}  // namespace largo::data
