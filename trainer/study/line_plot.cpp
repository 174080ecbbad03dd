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

// One plot, without the document around it.
std::string plot_of(const PlotText& text, const std::vector<Line>& lines) {
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
  const Axis x_axis = {text.log_x ? decade_ticks(low_x, high_x, 8) : round_ticks(low_x, high_x, 6),
                       kLeft, kWidth - kRight, text.log_x};
  const Axis y_axis = {round_ticks(low_y, high_y, 6), kHeight - kBottom, kTop};

  std::string svg = label(kWidth / 2, 22, "middle", text.title);
  svg += label((kLeft + kWidth - kRight) / 2, kHeight - 14, "middle", text.x_label);
  svg += format("<text transform=\"translate(18 %.1f) rotate(-90)\" text-anchor=\"middle\">",
                (kTop + kHeight - kBottom) / 2) +
         escaped(text.y_label) + "</text>\n";
  const auto rule = [](double x1, double y1, double x2, double y2) {
    return format("<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#ccc\"/>\n", x1, y1, x2, y2);
  };
  for (const double tick : x_axis.ticks) {
    const double x = x_axis.pixel(tick);
    svg += rule(x, kTop, x, kHeight - kBottom);
    svg += label(x, kHeight - kBottom + 18, "middle", format("%.6g", tick));
  }
  for (const double tick : y_axis.ticks) {
    const double y = y_axis.pixel(tick);
    svg += rule(kLeft, y, kWidth - kRight, y);
    svg += label(kLeft - 8, y + 4, "end", format("%.6g", tick));
  }
  double legend_y = kTop + 18;
  for (size_t i = 0; i < lines.size(); ++i) {
    const char* color = kColors[i % kColors.size()];
    std::string path;
    bool drawing = false;
    for (const auto& [x, y] : lines[i].points) {
      const bool drawn = is_drawn(x, y);
      if (drawn) {
        path += format("%c%.2f %.2f", drawing ? 'L' : 'M', x_axis.pixel(x), y_axis.pixel(y));
      }
      drawing = drawn;
    }
    svg +=
        "<path d=\"" + path + "\" fill=\"none\" stroke-width=\"1.5\" stroke=\"" + color + "\"/>\n";
    if (lines[i].name.empty()) continue;
    svg += format("<path d=\"M%.1f %.1fh24\" stroke-width=\"3\" stroke=\"%s\"/>\n",
                  kWidth - kRight - 150, legend_y - 4, color);
    svg += label(kWidth - kRight - 120, legend_y, "start", lines[i].name);
    legend_y += 18;
  }
  return svg;
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count) {
  if (!(low < high)) high = low + (low == 0 ? 1 : std::abs(low));
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
  std::string svg = format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
      "font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      kWidth, kHeight * static_cast<double>(panels.size()));
  double top = 0;
  for (const Panel& panel : panels) {
    if (top > 0) svg += format("<g transform=\"translate(0 %.0f)\">\n", top);
    svg += plot_of(panel.text, panel.lines);
    if (top > 0) svg += "</g>\n";
    top += kHeight;
  }
  return svg + "</svg>\n";
}

std::string line_plot(const PlotText& text, const std::vector<Line>& lines) {
  return line_plots({{text, lines}});
}

}  // namespace largo::study
