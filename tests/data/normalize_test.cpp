#include "trainer/data/normalize.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "comm/base/error.h"

namespace largo::data {
namespace {

TEST(PixelTable, NormalizesByTheFormula) {
  const std::vector<double> mean = {0.2860, 0.5}, deviation = {0.3530, 0.25};
  const PixelTable<double> doubles(mean, deviation);
  const PixelTable<float> floats(mean, deviation);
  EXPECT_EQ(doubles.channels(), 2);
  for (size_t c = 0; c < 2; ++c) {
    for (int value = 0; value < 256; ++value) {
      const double expected = (value / 255.0 - mean[c]) / deviation[c];
      EXPECT_EQ(doubles.channel(c)[value], expected);
      EXPECT_EQ(floats.channel(c)[value], static_cast<float>(expected));
    }
  }
}

TEST(PixelTable, NeedsADeviationPerMean) {
  const std::vector<double> two = {0.1, 0.2}, one = {1};
  EXPECT_THROW(PixelTable<float>(two, one), Error);
}

TEST(Normalize, TakesEveryChannelFromItsTable) {
  const std::vector<double> mean = {0.1, 0.2, 0.3, 0.4}, deviation = {0.5, 0.25, 2, 1};
  for (const size_t channels : {1, 2, 3, 4}) {
    const PixelTable<double> table(std::span{mean}.first(channels),
                                   std::span{deviation}.first(channels));
    std::vector<uint8_t> pixels(channels * 90);
    std::iota(pixels.begin(), pixels.end(), uint8_t{7});
    std::vector<double> numbers(pixels.size() + 1, -1);
    normalize<double>(pixels, table, numbers.data());
    for (size_t i = 0; i < pixels.size(); ++i) {
      ASSERT_EQ(numbers[i], table.channel(static_cast<int64_t>(i % channels))[pixels[i]]) << i;
    }
    EXPECT_EQ(numbers.back(), -1) << "written past the end";
    normalize<double>({}, table, nullptr);
  }
}

}  // namespace
}  // namespace largo::data
