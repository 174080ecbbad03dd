#include "trainer/metrics/progress.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace largo::metrics {
namespace {

template <class... Values>
std::string print(const char* format, Values... values) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, values...);
  return buffer;
}

// A descriptor of the terminal that stderr ends at, or -1. The caller closes it unless it is 2.
int open_terminal() {
  if (::isatty(STDERR_FILENO)) return STDERR_FILENO;
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) return -1;
  // Opening a launcher's pipe would disturb it: only a character device is opened.
  const std::string path = print("/proc/%d/fd/2", static_cast<int>(::getppid()));
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISCHR(status.st_mode)) return -1;
  const int file = ::open(path.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (file >= 0 && !::isatty(file)) {
    ::close(file);
    return -1;
  }
  return file;
}

void close_terminal(int file) {
  if (file >= 0 && file != STDERR_FILENO) ::close(file);
}

// "step 50/200", or "step 50 (120.5/200)" by another clock.
std::string step_text(int64_t step, double clock, int64_t total_steps) {
  if (clock == static_cast<double>(step)) {
    return print("step %" PRId64 "/%" PRId64, step, total_steps);
  }
  return print("step %" PRId64 " (%.1f/%" PRId64 ")", step, clock, total_steps);
}

}  // namespace

bool stderr_is_terminal() {
  const char* kind = std::getenv("TERM");
  if (kind && std::strcmp(kind, "dumb") == 0) return false;
  const int file = open_terminal();
  close_terminal(file);
  return file >= 0;
}

int stderr_columns() {
  const int file = open_terminal();
  winsize size{};
  const bool known = file >= 0 && ::ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  close_terminal(file);
  return known ? size.ws_col : 80;
}

std::string clock_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto total = static_cast<int64_t>(std::llround(std::min(seconds, 3.6e9)));
  const int64_t hours = total / 3600;
  const int64_t minutes = total / 60 % 60;
  if (hours == 0) return print("%" PRId64 ":%02" PRId64, minutes, total % 60);
  return print("%" PRId64 ":%02" PRId64 ":%02" PRId64, hours, minutes, total % 60);
}

std::string train_line(const TrainRecord& record, int64_t total_steps) {
  std::string line = print("%s  epoch %.2f  loss %.4f  top-1 %.2f %%  lr %.4g  grad norm %.3g",
                           step_text(record.step, record.clock, total_steps).c_str(), record.epoch,
                           record.loss, 100 * record.top1, record.lr, record.grad_norm);
  if (record.noise_scale) {
    line += print("  noise scale %.3g%s", *record.noise_scale,
                  record.noise_scale_biased ? " (biased)" : "");
  }
  return line + print("  %.0f samples/s", record.samples_per_s);
}

std::string eval_line(const EvalRecord& record) {
  return print("eval at step %" PRId64 "  epoch %.2f  %s (%" PRId64
               "): loss %.4f  top-1 %.2f %%  top-5 %.2f %%",
               record.step, record.epoch, record.split.c_str(), record.samples, record.loss,
               100 * record.top1, 100 * record.top5);
}

std::string bar_line(const TrainRecord& latest, int64_t step, double clock, int64_t total_steps,
                     double epoch, double eta_s, int columns) {
  const auto room = static_cast<size_t>(std::max(columns - 1, 1));
  const double done = total_steps > 0 ? std::min(clock / static_cast<double>(total_steps), 1.0) : 1;

  // In order of worth.
  std::vector<std::string> parts = {print("%3.0f %%", std::floor(100 * done)),
                                    step_text(step, clock, total_steps)};
  if (eta_s >= 0) parts.push_back("eta " + clock_text(eta_s));
  if (latest.step > 0) {
    parts.push_back(print("loss %.4f", latest.loss));
    parts.push_back(print("lr %.3g", latest.lr));
    parts.push_back(print("%.0f samples/s", latest.samples_per_s));
  }
  parts.push_back(print("epoch %.2f", epoch));

  constexpr size_t kLeastBar = 10;
  constexpr size_t kMostBar = 30;
  const size_t text_room = room >= 5 * kLeastBar ? room - kLeastBar - 3 : room;
  std::string line;
  for (const std::string& part : parts) {
    const size_t gap = line.empty() ? 0 : 2;
    if (line.size() + gap + part.size() > text_room) break;
    line += std::string(gap, ' ') + part;
  }
  const size_t left = room - line.size();
  if (left >= kLeastBar + 3) {
    const size_t cells = std::min(left - 3, kMostBar);
    const auto full = static_cast<size_t>(std::clamp(done, 0.0, 1.0) * static_cast<double>(cells));
    std::string bar(cells + 3, '.');
    bar.replace(0, full + 1, full + 1, '#');
    bar.front() = '[';
    bar.replace(cells + 1, 2, "] ");
    line.insert(0, bar);
  }
  return line;
}

Progress::Progress(Log& log, int64_t total_steps, bool bar)
    : log_(log), total_steps_(total_steps), bar_(bar) {}

Progress::~Progress() {
  if (bar_ && drawn_s_ >= 0) log_.set_status("");
}

void Progress::step(int64_t step, double clock, double epoch, double now_s) {
  if (!bar_ || log_.rank() != 0) return;
  if (start_s_ < 0) {
    start_s_ = now_s;
    start_clock_ = clock;
  }
  if (drawn_s_ >= 0 && now_s - drawn_s_ < kRedrawSeconds) return;
  drawn_s_ = now_s;
  const double passed = clock - start_clock_;
  const double left = std::max(static_cast<double>(total_steps_) - clock, 0.0);
  const double eta_s = passed > 0 ? (now_s - start_s_) / passed * left : -1;
  log_.set_status(bar_line(latest_, step, clock, total_steps_, epoch, eta_s, stderr_columns()));
}

void Progress::train(const TrainRecord& record) {
  latest_ = record;
  if (!bar_) log_.note(train_line(record, total_steps_));
}

void Progress::eval(const EvalRecord& record) { log_.note(eval_line(record)); }

}  // namespace largo::metrics
