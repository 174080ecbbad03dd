#include "comm/base/squares.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

namespace largo {
namespace {

TEST(Squares, EveryInstructionSetMakesTheSameBits) {
  for (const int64_t count : {0, 1, 15, 16, 17, 1000, 4099}) {
    std::vector<float> values(static_cast<size_t>(count));
    double plain = 0;
    for (float& value : values) {
      value = static_cast<float>(std::rand()) / RAND_MAX - 0.3F;
      plain += static_cast<double>(value) * value;
    }
    const double generic = sum_of_squares(values.data(), count, CpuIsa::kGeneric);
    EXPECT_NEAR(generic, plain, 1e-12 * plain);
    for (const CpuIsa isa : {CpuIsa::kAvx2, CpuIsa::kAvx512}) {
      if (!supports(isa)) continue;
      EXPECT_EQ(sum_of_squares(values.data(), count, isa), generic) << to_string(isa) << count;
    }
    const std::vector<double> wide(values.begin(), values.end());
    EXPECT_EQ(sum_of_squares(wide.data(), count), generic);
  }
}

TEST(Squares, OfTheLargestFloatsAreFinite) {
  const std::vector<float> values(40, 3e38F);
  EXPECT_NEAR(sum_of_squares(values.data(), 40), 40 * 9e76, 1e71);
}

}  // namespace
}  // namespace largo
