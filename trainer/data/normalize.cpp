#include "trainer/data/normalize.h"

#include "comm/base/error.h"

namespace largo::data {

template <class T>
PixelTable<T>::PixelTable(std::span<const double> mean, std::span<const double> std) {
  LARGO_CHECK(mean.size() == std.size(), mean.size(), " means and ", std.size(), " deviations");
  for (size_t c = 0; c < mean.size(); ++c) {
    for (int value = 0; value < 256; ++value) {
      values_.push_back(static_cast<T>((value / 255.0 - mean[c]) / std[c]));
    }
  }
}

template <class T>
void normalize(std::span<const uint8_t> pixels, const PixelTable<T>& table, T* to) {
  const auto values = static_cast<int64_t>(pixels.size());
  if (table.channels() == 3) {
    const T *red = table.channel(0), *green = table.channel(1), *blue = table.channel(2);
    for (int64_t i = 0; i < values; i += 3) {
      to[i] = red[pixels[i]];
      to[i + 1] = green[pixels[i + 1]];
      to[i + 2] = blue[pixels[i + 2]];
    }
    return;
  }
  for (int64_t i = 0; i < values;) {
    for (int64_t c = 0; c < table.channels(); ++c, ++i) to[i] = table.channel(c)[pixels[i]];
  }
}

template class PixelTable<float>;
template class PixelTable<double>;
template void normalize(std::span<const uint8_t>, const PixelTable<float>&, float*);
template void normalize(std::span<const uint8_t>, const PixelTable<double>&, double*);

}  // namespace largo::data
