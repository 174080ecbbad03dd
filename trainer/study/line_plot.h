// Line plots as SVG text.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace largo::study {

struct Line {
  std::string name;                               // in the legend; empty: none
  std::vector<std::pair<double, double>> points;  // x ascending; not finite ones leave a gap
};

struct PlotText {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;  // x > 0 only, on a logarithmic axis; others are gaps
};

struct Panel {
  PlotText text;
  std::vector<Line> lines;
};

// A whole SVG document of 720 x 440 units with axes from the data's ranges and round tick values; a
// title that needs several lines and the legend below the plot make it higher. The same input gives
// the same bytes. No points at all: axes from 0 to 1.
std::string line_plot(const PlotText& text, const std::vector<Line>& lines);

// The same for several plots, one below the other, each with its own axes.
std::string line_plots(const std::vector<Panel>& panels);

// About `count` round values (1, 2 or 5 times a power of ten apart) that cover [low, high]; two
// ends where the range is beyond what a number holds.
std::vector<double> round_ticks(double low, double high, int count);

// Powers of ten that cover [low, high], of at most `count` decades or else every second, third, ...
std::vector<double> decade_ticks(double low, double high, int count);

}  // namespace largo::study
