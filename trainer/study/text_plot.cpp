#include "trainer/study/text_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string_view>
#include <utility>

namespace largo::study {

namespace {

constexpr std::string_view kSigns = "*o+x#@%&";

struct Extent {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

bool is_point(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

// The ends of an axis, at round values.
std::pair<double, double> axis(const Extent& extent) {
  constexpr int kTicks = 4;
  const std::vector<double> ticks = extent.low > extent.high
                                        ? round_ticks(0, 1, kTicks)
                                        : round_ticks(extent.low, extent.high, kTicks);
  return {ticks.front(), ticks.back()};
}

// Which of `count` cells `value` falls into.
size_t cell(double value, const std::pair<double, double>& ends, int count) {
  const double part = (value - ends.first) / (ends.second - ends.first);
  return static_cast<size_t>(std::clamp(std::lround(part * (count - 1)), 0L, count - 1L));
}

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g", value);
  return text.data();
}

class Canvas {
 public:
  explicit Canvas(const TextSize& size)
      : size_(size),
        cells_(static_cast<size_t>(size.rows),
               std::string(static_cast<size_t>(size.columns), ' ')) {}

  // Straight from one point to the next, with a sign in every column between them.
  void draw(const std::vector<std::pair<double, double>>& points, char sign,
            const std::pair<double, double>& x_ends, const std::pair<double, double>& y_ends) {
    for (size_t i = 0; i < points.size(); ++i) {
      if (!is_point(points[i])) continue;
      put(points[i], sign, x_ends, y_ends);
      if (i == 0 || !is_point(points[i - 1])) continue;
      const size_t begin = cell(points[i - 1].first, x_ends, size_.columns);
      const size_t end = cell(points[i].first, x_ends, size_.columns);
      for (size_t column = begin + 1; column < end; ++column) {
        const double part = static_cast<double>(column - begin) / static_cast<double>(end - begin);
        const double x = points[i - 1].first + part * (points[i].first - points[i - 1].first);
        const double y = points[i - 1].second + part * (points[i].second - points[i - 1].second);
        put({x, y}, sign, x_ends, y_ends);
      }
    }
  }

  const std::string& row_from_top(int row) const { return cells_[static_cast<size_t>(row)]; }

 private:
  void put(const std::pair<double, double>& point, char sign,
           const std::pair<double, double>& x_ends, const std::pair<double, double>& y_ends) {
    const size_t up = cell(point.second, y_ends, size_.rows);
    cells_[static_cast<size_t>(size_.rows) - 1 - up][cell(point.first, x_ends, size_.columns)] =
        sign;
  }

  TextSize size_;
  std::vector<std::string> cells_;
};

std::string padded(const std::string& text, size_t width) {
  return std::string(width - std::min(width, text.size()), ' ').append(text);
}

}  // namespace

std::string text_plot(const PlotText& text, const std::vector<Line>& lines, TextSize size) {
  Extent x_extent;
  Extent y_extent;
  for (const Line& line : lines) {
    for (const auto& point : line.points) {
      if (!is_point(point)) continue;
      x_extent.add(point.first);
      y_extent.add(point.second);
    }
  }
  const auto x_ends = axis(x_extent);
  const auto y_ends = axis(y_extent);
  Canvas canvas(size);
  for (size_t i = 0; i < lines.size(); ++i) {
    canvas.draw(lines[i].points, kSigns[i % kSigns.size()], x_ends, y_ends);
  }

  const std::string top = number(y_ends.second);
  const std::string bottom = number(y_ends.first);
  const size_t margin = std::max(top.size(), bottom.size());
  std::string out = text.title + "\n" + text.y_label + "\n";
  for (int row = 0; row < size.rows; ++row) {
    out += padded(row == 0 ? top : row + 1 == size.rows ? bottom : "", margin);
    out += " |";
    out += canvas.row_from_top(row);
    out.erase(out.find_last_not_of(' ') + 1);
    out += '\n';
  }
  out.append(margin + 1, ' ').append("+").append(static_cast<size_t>(size.columns), '-');
  const std::string left = number(x_ends.first);
  const std::string right = number(x_ends.second);
  out.append("\n").append(margin + 2, ' ').append(left);
  out +=
      padded(right, static_cast<size_t>(size.columns) - left.size()) + "  " + text.x_label + "\n";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].name.empty()) continue;
    out.append(margin + 2, ' ') += kSigns[i % kSigns.size()];
    out.append(" ").append(lines[i].name).append("\n");
  }
  return out;
}

}  // namespace largo::study
