#include "trainer/study/text_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace largo::study {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(TextPlot, DrawsEachLineWithItsSign) {
  const std::string plot = text_plot({"two lines", "step", "LR"},
                                     {{"up", {{0, 0}, {20, 4}}}, {"flat", {{0, 2}, {20, 2}}}},
                                     {.columns = 21, .rows = 5});
  EXPECT_EQ(plot,
            "two lines\n"
            "LR\n"
            "4 |                  ***\n"
            "  |             *****\n"
            "  |ooooooooooooooooooooo\n"
            "  |   *****\n"
            "0 |***\n"
            "  +---------------------\n"
            "   0                  20  step\n"
            "   * up\n"
            "   o flat\n");
}

TEST(TextPlot, LeavesGapsAndDrawsNothingOfNothing) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string plot =
      text_plot({"t", "x", "y"}, {{"", {{0, 1}, {5, nan}, {10, 1}}}}, {.columns = 11, .rows = 3});
  EXPECT_THAT(plot, HasSubstr("|*         *\n"));
  EXPECT_THAT(text_plot({"t", "x", "y"}, {}), Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace largo::study
