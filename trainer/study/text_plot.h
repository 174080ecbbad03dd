// Line plots for a terminal.
#pragma once

#include <string>
#include <vector>

#include "trainer/study/line_plot.h"

namespace largo::study {

struct TextSize {
  int columns = 72;  // of the plotting area
  int rows = 18;
};

// The same axes as line_plot's, drawn with plain characters and no colours: each line has a sign of
// its own, which the legend below names; where lines meet, the later one is seen. log_x is not
// taken. The same input gives the same bytes.
std::string text_plot(const PlotText& text, const std::vector<Line>& lines, TextSize size = {});

}  // namespace largo::study
