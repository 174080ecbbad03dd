#include "trainer/study/line_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace largo::study {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(RoundTicks, CoverTheRangeInRoundSteps) {
  EXPECT_THAT(round_ticks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(round_ticks(0.3, 99, 5), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(round_ticks(-1, 1, 4), ElementsAre(-1, -0.5, 0, 0.5, 1));
  EXPECT_LE(round_ticks(5, 5, 4).front(), 5);  // one value has a range too
  EXPECT_GT(round_ticks(5, 5, 4).back(), 5);
  EXPECT_GT(round_ticks(0, 0, 4).back(), 0);
  // A range of one bit, and one that overflows.
  EXPECT_LE(round_ticks(0.3, std::nextafter(0.3, 1), 4).size(), 8U);
  EXPECT_LE(round_ticks(-1e-300, 1e-300, 4).size(), 8U);
  const double most = std::numeric_limits<double>::max();
  for (const auto& [low, high] : {std::pair{most, most}, {-most, most}, {0.0, most}}) {
    const std::vector<double> ticks = round_ticks(low, high, 4);
    EXPECT_LE(ticks.size(), 12U);
    EXPECT_LT(ticks.front(), ticks.back());
  }
}

TEST(LinePlot, DrawsLinesAndLeavesGaps) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string svg =
      line_plot({"LR & time", "step", "lr"},
                {{"a<b", {{0, 0}, {1, nan}, {2, 1}, {4, 2}}}, {"", {{0, 2}, {4, 0}}}});
  EXPECT_THAT(svg, HasSubstr("LR &amp; time"));
  EXPECT_THAT(svg, HasSubstr("a&lt;b"));
  // From the left edge at the bottom; after the gap a new stroke, up to the right edge at the top.
  EXPECT_THAT(svg, HasSubstr("d=\"M80.00 384.00M390.00 212.00L700.00 40.00\""));
  EXPECT_THAT(svg, HasSubstr("d=\"M80.00 40.00L700.00 384.00\""));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(LinePlot, DecadesAreEquallyLongOnALogarithmicAxis) {
  const std::string svg =
      line_plot({.title = "t", .x_label = "x", .y_label = "y", .log_x = true},
                {{"", {{-1, 9}, {0, 9}, {1e-2, 0}, {1e-1, 1}, {1, 2}, {100, 0}}}});
  // 620 units for four decades; what has no logarithm is left out.
  EXPECT_THAT(svg, HasSubstr("d=\"M80.00 384.00L235.00 212.00L390.00 40.00L700.00 384.00\""));
  EXPECT_THAT(svg, HasSubstr(">0.01</text>"));
  EXPECT_THAT(svg, HasSubstr(">100</text>"));
  EXPECT_THAT(line_plot({.title = "t", .x_label = "x", .y_label = "y", .log_x = true}, {}),
              Not(HasSubstr("nan")));
}

TEST(LinePlots, HaveTheirOwnAxesOneBelowTheOther) {
  const Panel lr = {{"t", "step", "lr"}, {{"", {{0, 0}, {4, 2}}}}};
  const Panel momentum = {{"", "step", "m"}, {{"", {{0, 0.5}, {4, 1}}}}};
  const std::string svg = line_plots({lr, momentum});
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 720 880\""));
  const size_t second = svg.find("<g transform=\"translate(0 440)\">");
  ASSERT_NE(second, std::string::npos);
  const std::string corner_to_corner = "d=\"M80.00 384.00L700.00 40.00\"";
  EXPECT_LT(svg.find(corner_to_corner), second);
  EXPECT_THAT(svg.substr(second), HasSubstr(corner_to_corner));
  EXPECT_THAT(svg.substr(second), HasSubstr(">m</text>"));
  EXPECT_EQ(line_plots({lr}), line_plot(lr.text, lr.lines));
}

TEST(LinePlot, TellsMoreLinesThanColorsApart) {
  std::vector<Line> lines(13, {"", {{0, 0}, {1, 1}}});
  const std::string svg = line_plot({"t", "x", "y"}, lines);
  std::set<std::string> strokes;
  for (size_t at = svg.find("stroke=\"#0"); at != std::string::npos;
       at = svg.find("stroke=\"#0", at + 1)) {
    const size_t end = svg.find("/>", at);
    EXPECT_TRUE(strokes.insert(svg.substr(at, end - at)).second) << svg.substr(at, end - at);
  }
  EXPECT_EQ(strokes.size(), 2 * 2 + 1);  // two of the six colors start with 0
}

TEST(LinePlot, PutsTheLegendBelowInRows) {
  const std::vector<std::pair<double, double>> points = {{0, 0}, {4, 2}};
  const std::string svg = line_plot(
      {"t", "x", "y"},
      {{"first", points}, {std::string(80, 'n'), points}, {"", points}, {"last", points}});
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 720 494\""));
  EXPECT_THAT(svg, HasSubstr("y=\"444.0\" text-anchor=\"start\">first<"));
  EXPECT_THAT(svg, HasSubstr("y=\"462.0\" text-anchor=\"start\">nnn"));
  EXPECT_THAT(svg, HasSubstr("y=\"480.0\" text-anchor=\"start\">last<"));
  EXPECT_THAT(svg, HasSubstr("d=\"M80.00 384.00L700.00 40.00\""));  // nothing lost
}

TEST(LinePlot, WrapsATitleThatIsTooLong) {
  const std::string words = "peak LR 0.8 = 0.1 × 8 (linear, batch 1024 / 128);";
  const std::string svg =
      line_plot({words + " " + words + " " + words, "x", "y"}, {{"", {{0, 0}, {4, 2}}}});
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 720 456\""));
  EXPECT_THAT(svg, HasSubstr("y=\"22.0\" text-anchor=\"middle\">peak"));
  EXPECT_THAT(svg, HasSubstr("y=\"38.0\" text-anchor=\"middle\">"));
  EXPECT_THAT(svg, HasSubstr("d=\"M80.00 400.00L700.00 56.00\""));  // as high as any
}

TEST(DecadeTicks, CoverTheRangeInPowersOfTen) {
  EXPECT_THAT(decade_ticks(1e-3, 1, 8), ElementsAre(1e-3, 1e-2, 1e-1, 1));
  EXPECT_THAT(decade_ticks(2, 30, 8), ElementsAre(1, 10, 100));
  EXPECT_THAT(decade_ticks(5, 5, 8), ElementsAre(1, 10));
  EXPECT_THAT(decade_ticks(1, 1, 8), ElementsAre(1, 10));
  EXPECT_THAT(decade_ticks(1e-7, 10, 4), ElementsAre(1e-7, 1e-5, 1e-3, 1e-1, 10));
  EXPECT_THAT(decade_ticks(1e-7, 1, 4), ElementsAre(1e-7, 1e-5, 1e-3, 1e-1, 10));
}

TEST(LinePlot, OfNothingIsStillADocument) {
  const std::string svg = line_plot({"t", "x", "y"}, {});
  EXPECT_THAT(svg, testing::StartsWith("<svg"));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
}

}  // namespace
}  // namespace largo::study
