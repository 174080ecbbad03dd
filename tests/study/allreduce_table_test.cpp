#include "trainer/study/allreduce_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace largo::study {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(AllreduceTable, SizesDoubleAndEndWhereAsked) {
  EXPECT_THAT(doubling_sizes(4, 4), ElementsAre(4));
  EXPECT_THAT(doubling_sizes(4, 32), ElementsAre(4, 8, 16, 32));
  EXPECT_THAT(doubling_sizes(4, 20), ElementsAre(4, 8, 16, 20));
  EXPECT_THAT(doubling_sizes(1, 1), ElementsAre(1));
  const int64_t huge = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(doubling_sizes(1, huge).back(), huge);
}

TEST(AllreduceTable, BandwidthsFollowTheirFormulas) {
  const AllreduceRow row = {.bytes = 1000000, .median_s = 1e-3, .min_s = 5e-4, .max_s = 2e-3};
  EXPECT_DOUBLE_EQ(algorithm_bandwidth(row), 1e9);
  EXPECT_DOUBLE_EQ(bus_bandwidth(row, 1), 0);
  EXPECT_DOUBLE_EQ(bus_bandwidth(row, 2), 1e9);
  EXPECT_DOUBLE_EQ(bus_bandwidth(row, 8), 1.75e9);
}

TEST(AllreduceTable, MedianOfEvenAndOdd) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_DOUBLE_EQ(median({7}), 7);
}

TEST(AllreduceTable, LinesStandBelowTheirHeads) {
  const AllreduceRow row = {
      .bytes = 2000000, .median_s = 1e-3, .min_s = 5e-4, .max_s = 2e-3, .wrong = 3};
  EXPECT_THAT(allreduce_line(row, 2), HasSubstr(" 2.000 "));
  EXPECT_EQ(allreduce_line(row, 2).size(), allreduce_head().size());
  EXPECT_EQ(allreduce_line(row, 2).back(), '\n');
  AllreduceRow compared = row;
  compared.mpi_median_s = 8.5e-3;
  EXPECT_THAT(allreduce_line(compared, 2), HasSubstr(" 8500.0     8.50 "));
  EXPECT_EQ(allreduce_line(compared, 2).size(), allreduce_head().size());
}

}  // namespace
}  // namespace largo::study
