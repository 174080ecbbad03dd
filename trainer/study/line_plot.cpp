#include "trainer/study/line_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

namespace largo::study {

namespace {

constexpr double kWidth = 720, kHeight = 440;
constexpr double kLeft = 80, kRight = 20, kTop = 40, kBottom = 56;

constexpr double kLineHeight = 16, kLegendRow = 18, kLegendMark = 24, kLegendGap = 20;
// Of this font's letters; a title and a legend that are wider than this says are the only harm.
constexpr double kLetter = 6.6;

// Distinguishable in print and for the colour-blind (Okabe and Ito).
constexpr std::array<const char*, 6> kColors = {"#0072B2", "#D55E00", "#009E73",
                                                "#CC79A7", "#E69F00", "#56B4E9"};

template <class... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 512> text;
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string label(double x, double y, const char* anchor, const std::string& text) {
  return format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor) + escaped(text) +
         "</text>\n";
}

// What tells the lines apart: the colours, then the same ones dashed.
std::string stroke_of(size_t line) {
  constexpr std::array<const char*, 3> kDashes = {"", " stroke-dasharray=\"7 3\"",
                                                  " stroke-dasharray=\"2 2\""};
  return format("stroke=\"%s\"%s", kColors[line % kColors.size()],
                kDashes[line / kColors.size() % kDashes.size()]);
}

double width_of(const std::string& text) { return kLetter * static_cast<double>(text.size()); }

// Cut at blanks into lines that fit into the plot's width.
std::vector<std::string> wrapped(const std::string& text) {
  std::vector<std::string> lines(1);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    std::string& line = lines.back();
    const bool fits = width_of(line) + width_of(word) < kWidth - 2 * kRight;
    if (line.empty() || fits) {
      line += (line.empty() ? "" : " ") + word;
    } else {
      lines.push_back(word);
    }
    begin = end + 1;
  }
  return lines;
}

struct Part {
  std::string svg;
  double height = 0;
};

// The named lines in rows, from `top` down.
Part legend_of(const std::vector<Line>& lines, double top) {
  Part legend;
  double x = kLeft;
  double y = top;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& name = lines[i].name;
    if (name.empty()) continue;
    const double width = kLegendMark + 6 + width_of(name);
    if (legend.height == 0 || x + width > kWidth - kRight) {
      x = kLeft;
      y = top + legend.height;
      legend.height += kLegendRow;
    }
    legend.svg += format("<path d=\"M%.1f %.1fh%.0f\" stroke-width=\"3\" ", x, y - 4, kLegendMark) +
                  stroke_of(i) + "/>\n" + label(x + kLegendMark + 6, y, "start", name);
    x += width + kLegendGap;
  }
  return legend;
}

struct Axis {
  std::vector<double> ticks;
  double from_pixel, to_pixel;
  bool log = false;

  double pixel(double value) const {
    const auto place = [&](double at) { return log ? std::log(at) : at; };
    const double low = place(ticks.front()), high = place(ticks.back());
    return from_pixel + (place(value) - low) / (high - low) * (to_pixel - from_pixel);
  }
};

// One plot, without the document around it. A title of several lines and a legend make it
// higher; the curves keep their size.
Part plot_of(const PlotText& text, const std::vector<Line>& lines) {
  const auto is_drawn = [&](double x, double y) {
    return std::isfinite(x) && std::isfinite(y) && (x > 0 || !text.log_x);
  };
  constexpr double kNone = std::numeric_limits<double>::infinity();
  double low_x = kNone, high_x = -kNone, low_y = kNone, high_y = -kNone;
  for (const Line& line : lines) {
    for (const auto& [x, y] : line.points) {
      if (!is_drawn(x, y)) continue;
      low_x = std::min(low_x, x);
      high_x = std::max(high_x, x);
      low_y = std::min(low_y, y);
      high_y = std::max(high_y, y);
    }
  }
  if (low_x == kNone) low_x = text.log_x ? 0.1 : 0, low_y = 0, high_x = high_y = 1;
  const std::vector<std::string> title = wrapped(text.title);
  const double above = kLineHeight * static_cast<double>(title.size() - 1);
  const double top = kTop + above;
  const double bottom = kHeight - kBottom + above;
  const Axis x_axis = {text.log_x ? decade_ticks(low_x, high_x, 8) : round_ticks(low_x, high_x, 6),
                       kLeft, kWidth - kRight, text.log_x};
  const Axis y_axis = {round_ticks(low_y, high_y, 6), bottom, top};

  std::string svg;
  for (size_t i = 0; i < title.size(); ++i) {
    svg += label(kWidth / 2, 22 + kLineHeight * static_cast<double>(i), "middle", title[i]);
  }
  svg += label((kLeft + kWidth - kRight) / 2, bottom + 42, "middle", text.x_label);
  svg += format("<text transform=\"translate(18 %.1f) rotate(-90)\" text-anchor=\"middle\">",
                (top + bottom) / 2) +
         escaped(text.y_label) + "</text>\n";
  const auto rule = [](double x1, double y1, double x2, double y2) {
    return format("<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#ccc\"/>\n", x1, y1, x2, y2);
  };
  for (const double tick : x_axis.ticks) {
    const double x = x_axis.pixel(tick);
    svg += rule(x, top, x, bottom);
    svg += label(x, bottom + 18, "middle", format("%.6g", tick));
  }
  for (const double tick : y_axis.ticks) {
    const double y = y_axis.pixel(tick);
    svg += rule(kLeft, y, kWidth - kRight, y);
    svg += label(kLeft - 8, y + 4, "end", format("%.6g", tick));
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string path;
    bool drawing = false;
    for (const auto& [x, y] : lines[i].points) {
      const bool drawn = is_drawn(x, y);
      if (drawn) {
        path += format("%c%.2f %.2f", drawing ? 'L' : 'M', x_axis.pixel(x), y_axis.pixel(y));
      }
      drawing = drawn;
    }
    svg += "<path d=\"" + path + "\" fill=\"none\" stroke-width=\"1.5\" " + stroke_of(i) + "/>\n";
  }
  const Part legend = legend_of(lines, kHeight + above + 4);
  return {svg + legend.svg, kHeight + above + legend.height};
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count) {
  // Ticks cannot tell apart what only the last digits do.
  if (!(high - low > 1e-12 * std::max(std::abs(low), std::abs(high)))) {
    high = low + (low == 0 ? 1 : std::abs(low));
  }
  if (!std::isfinite(high - low)) return {std::min(low, 0.0), std::numeric_limits<double>::max()};
  const double rough = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

std::vector<double> decade_ticks(double low, double high, int count) {
  const double first = std::floor(std::log10(low) + 1e-9);
  const double last = std::max(std::ceil(std::log10(high) - 1e-9), first + 1);
  const double stride = std::ceil((last - first) / count);
  std::vector<double> ticks;
  for (double power = first; power < last + stride; power += stride) {
    ticks.push_back(std::pow(10, power));
  }
  return ticks;
}

std::string line_plots(const std::vector<Panel>& panels) {
  std::string plots;
  double top = 0;
  for (const Panel& panel : panels) {
    const Part plot = plot_of(panel.text, panel.lines);
    if (top > 0) plots += format("<g transform=\"translate(0 %.0f)\">\n", top);
    plots += plot.svg;
    if (top > 0) plots += "</g>\n";
    top += plot.height;
  }
  return format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
             "font-family=\"sans-serif\" "
             "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
             kWidth, top) +
         plots + "</svg>\n";
}

std::string line_plot(const PlotText& text, const std::vector<Line>& lines) {
  return line_plots({{text, lines}});
}

}  // namespace largo::study
