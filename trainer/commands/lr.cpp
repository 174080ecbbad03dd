#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/base/atomic_file.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/setup.h"
#include "trainer/optim/plateau.h"
#include "trainer/study/line_plot.h"
#include "trainer/study/text_plot.h"

namespace largo::commands {

namespace {

constexpr const char* kLearningRate = "learning rate";
constexpr const char* kMomentum = "momentum";
constexpr const char* kWeightDecay = "weight decay";

// One number over the steps of a run.
struct Column {
  std::string name;
  std::function<double(double step)> value;
  int64_t total_steps = 0;  // of its run
  std::string quantity;     // what are plotted together
};

void note(const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }

// What the table cannot know: it depends on training.
void note_on_training(const config::RunConfig& values, const Prepared& prepared,
                      const std::string& of) {
  if (values.lr.scaling == optim::ScalingRule::kAdaScale) {
    note(of +
         "lr.scaling adascale: steps are those of lr.base_batch, and the LR is multiplied by a "
         "gain that training gives");
  }
  if (values.lr.policy.kind == optim::PolicyKind::kPlateauReduce) {
    note(of + "lr.policy plateau_reduce depends on training: the LR before any plateau");
  }
  if (values.lr.policy.kind == optim::PolicyKind::kPlateauChange) {
    note(concat(of, "lr.policy plateau_change depends on training, which starts with level ",
                values.lr.policy.plateau.first, ": the LR of every level"));
  }
  note(concat(of, prepared.describe_steps(values), "; ", prepared.describe_lr(values)));
}

// The columns of one run file; `prefix` goes before their names.
std::vector<Column> columns_of(const config::RunConfig& values, const Prepared& prepared,
                               const std::string& prefix) {
  const int64_t total = prepared.schedule_inputs.total_steps;
  std::vector<Column> columns;
  const auto add_lr = [&](const std::string& name, optim::LrSchedule schedule) {
    columns.push_back(
        {.name = prefix + name,
         .value = [schedule = std::move(schedule)](double s) { return schedule.lr(s); },
         .total_steps = total,
         .quantity = kLearningRate});
  };
  if (values.lr.policy.kind == optim::PolicyKind::kPlateauChange) {
    auto levels = optim::plateau_levels(values.lr, prepared.schedule_inputs);
    for (size_t i = 0; i < levels.size(); ++i) add_lr(concat("lr", i), std::move(levels[i]));
  } else {
    add_lr("lr", prepared.schedule);
  }
  const optim::RateSchedules rates = prepared.rates;
  if (rates.momentum(0)) {
    columns.push_back({.name = prefix + "momentum",
                       .value = [rates](double s) { return rates.momentum(s).value(); },
                       .total_steps = total,
                       .quantity = kMomentum});
  }
  if (rates.weight_decay(0)) {
    columns.push_back({.name = prefix + "weight_decay",
                       .value = [rates](double s) { return rates.weight_decay(s).value(); },
                       .total_steps = total,
                       .quantity = kWeightDecay});
  }
  return columns;
}

// About a hundred lines of table, and always the last step of every run.
std::set<double> steps_to_print(const LrArguments& arguments, const std::vector<Column>& columns) {
  if (!arguments.at.empty()) return {arguments.at.begin(), arguments.at.end()};
  int64_t longest = 0;
  for (const Column& column : columns) longest = std::max(longest, column.total_steps);
  const int64_t every = arguments.every.value_or(std::max<int64_t>(1, longest / 100));
  std::set<double> steps;
  for (int64_t step = 0; step < longest; step += every) steps.insert(static_cast<double>(step));
  for (const Column& column : columns) {
    if (column.total_steps > 0) steps.insert(static_cast<double>(column.total_steps - 1));
  }
  return steps;
}

// 17 digits. A run that is over has no value, unless --at asks for one.
std::string cell(const Column& column, double step, bool ends) {
  if (ends && step >= static_cast<double>(column.total_steps)) return {};
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.17g", column.value(step));
  return text.data();
}

void print_table(const LrArguments& arguments, const std::vector<Column>& columns) {
  const bool ends = arguments.at.empty();
  const char* const format = arguments.csv ? ",%s" : columns.size() == 1 ? " %s" : " %-24s";
  std::printf(arguments.csv ? "%s" : "%-12s", "step");
  for (const Column& column : columns) std::printf(format, column.name.c_str());
  std::printf("\n");
  for (const double step : steps_to_print(arguments, columns)) {
    std::printf(arguments.csv ? "%.17g" : "%-12.17g", step);
    for (const Column& column : columns) {
      const std::string text = cell(column, step, ends);
      std::printf(format, text.empty() && !arguments.csv ? "-" : text.c_str());
    }
    std::printf("\n");
  }
}

// The values of a run for a plot: all, or of each thousandth of a long run its extremes, so that a
// restart within it shows. Of runs above a million steps, as many are looked at.
std::vector<std::pair<double, double>> points_of(const Column& column) {
  constexpr int64_t kParts = 1000;
  constexpr int64_t kInPart = 1000;
  const int64_t total = column.total_steps;
  const int64_t part = std::max<int64_t>(1, total / kParts);
  const int64_t stride = std::max<int64_t>(1, part / kInPart);
  std::vector<std::pair<double, double>> points;
  for (int64_t begin = 0; begin < total; begin += part) {
    std::vector<std::pair<double, double>> looked_at;
    for (int64_t step = begin; step < std::min(begin + part, total); step += stride) {
      looked_at.emplace_back(step, column.value(static_cast<double>(step)));
    }
    auto [low, high] =
        std::minmax_element(looked_at.begin(), looked_at.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; });
    if (high < low) std::swap(low, high);
    points.push_back(*low);
    if (high != low) points.push_back(*high);
  }
  const auto last = static_cast<double>(total - 1);
  if (total > 0 && points.back().first < last) points.emplace_back(last, column.value(last));
  return points;
}

std::vector<study::Line> lines_of(const std::vector<Column>& columns, const char* quantity) {
  std::vector<study::Line> lines;
  for (const Column& column : columns) {
    if (column.quantity != quantity) continue;
    lines.push_back({.name = column.name, .points = points_of(column)});
  }
  return lines;
}

// The learning rates, and below them what is scheduled beside them.
std::vector<study::Panel> panels_of(const std::vector<Column>& columns, const std::string& title) {
  std::vector<study::Panel> panels;
  for (const char* quantity : {kLearningRate, kMomentum, kWeightDecay}) {
    std::vector<study::Line> lines = lines_of(columns, quantity);
    if (lines.empty()) continue;
    if (lines.size() == 1 && quantity == kLearningRate) lines.front().name.clear();
    panels.push_back({.text = {.title = panels.empty() ? title : std::string(),
                               .x_label = "step",
                               .y_label = quantity},
                      .lines = std::move(lines)});
  }
  return panels;
}

// The run files, and their overrides.
ConfigArguments sorted_arguments(const LrArguments& arguments, std::vector<std::string>& paths) {
  ConfigArguments sorted;
  paths.push_back(arguments.config.path);
  for (const std::string& argument : arguments.config.overrides) {
    (argument.find('=') == std::string::npos ? paths : sorted.overrides).push_back(argument);
  }
  return sorted;
}

// What a run file's columns are called among others: its name, or its path where names are the
// same.
std::string name_of(const std::string& path, const std::vector<std::string>& paths) {
  const auto stem = [](const std::string& p) { return std::filesystem::path(p).stem().string(); };
  const auto alike = std::count_if(paths.begin(), paths.end(),
                                   [&](const std::string& p) { return stem(p) == stem(path); });
  return alike == 1 ? stem(path) : path;
}

void check(const LrArguments& arguments) {
  if (arguments.every && *arguments.every < 1) {
    fail(ExitCode::kUsage, "--every ", *arguments.every, "; legal: at least 1");
  }
  if (arguments.every && !arguments.at.empty()) {
    fail(ExitCode::kUsage, "--every and --at exclude each other");
  }
  for (const double step : arguments.at) {
    if (!(step >= 0) || !std::isfinite(step)) {
      fail(ExitCode::kUsage, "--at ", step, "; legal: steps of at least 0");
    }
  }
}

}  // namespace

int run_lr(const LrArguments& arguments) {
  check(arguments);
  std::vector<std::string> paths;
  ConfigArguments of_file = sorted_arguments(arguments, paths);
  const Catalogs catalogs = make_catalogs();
  Log log;
  std::vector<Column> columns;
  std::string title;
  for (const std::string& path : paths) {
    of_file.path = path;
    const config::LoadedConfig loaded =
        config::load_config(read_config_file(path), of_file.overrides);
    const bool several = paths.size() > 1;
    const std::string of = several ? path + ": " : std::string();
    for (const std::string& text : loaded.notes) note(of + text);
    const Prepared prepared =
        prepare(loaded, catalogs, data_index(loaded, catalogs, log), arguments.ranks);
    note_on_training(loaded.values, prepared, of);
    auto more = columns_of(loaded.values, prepared, several ? name_of(path, paths) + "." : "");
    columns.insert(columns.end(), std::make_move_iterator(more.begin()),
                   std::make_move_iterator(more.end()));
    title = several ? "learning rates" : prepared.schedule.describe();
  }
  print_table(arguments, columns);
  if (arguments.plot.empty() && !arguments.terminal) return 0;
  const std::vector<study::Panel> panels = panels_of(columns, title);
  if (!arguments.plot.empty()) write_file_atomically(arguments.plot, study::line_plots(panels));
  if (arguments.terminal) {
    for (const study::Panel& panel : panels) note(study::text_plot(panel.text, panel.lines));
  }
  return 0;
}

}  // namespace largo::commands
