#include "trainer/data/statistics.h"

#include <array>
#include <cmath>

#include "comm/base/error.h"

namespace largo::data {

ChannelStatistics channel_statistics(const Dataset& dataset) {
  const SampleShape shape = dataset.shape();
  LARGO_CHECK(shape.values() > 0, "images of several sizes");
  std::vector<std::array<uint64_t, 256>> counts(static_cast<size_t>(shape.channels));
  const Framing whole{.cut = Cut::kWhole, .height = shape.height, .width = shape.width};
  Image image;
  for (int64_t index = 0; index < dataset.size(); ++index) {
    dataset.read(index, whole, image);
    const uint8_t* value = image.pixels.data();
    for (const uint8_t* const end = value + shape.values(); value < end;) {
      for (auto& of_channel : counts) ++of_channel[*value++];
    }
  }
  ChannelStatistics statistics;
  for (const auto& of_channel : counts) {
    uint64_t count = 0, sum = 0;
    for (uint64_t value = 0; value < 256; ++value) {
      count += of_channel[value];
      sum += of_channel[value] * value;
    }
    const double mean = static_cast<double>(sum) / static_cast<double>(count);
    double squares = 0;
    for (int value = 0; value < 256; ++value) {
      squares += static_cast<double>(of_channel[value]) * (value - mean) * (value - mean);
    }
    if (squares == 0) {
      fail(ExitCode::kBadData, "channel ", statistics.mean.size(), " is ", mean,
           " in every pixel of the ", dataset.size(),
           " training samples, so data.std cannot be computed; give data.mean and data.std");
    }
    statistics.mean.push_back(mean / 255);
    statistics.std.push_back(std::sqrt(squares / static_cast<double>(count)) / 255);
  }
  return statistics;
}

}  // namespace largo::data
