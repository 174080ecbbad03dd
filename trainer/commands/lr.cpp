#include <algorithm>
#include <cstdio>
#include <vector>

#include "comm/base/error.h"
#include "trainer/base/atomic_file.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/setup.h"
#include "trainer/study/line_plot.h"

namespace largo::commands {

namespace {

// About a hundred lines of table, and always the last step.
std::vector<double> steps_to_print(const LrArguments& arguments, int64_t total_steps) {
  if (!arguments.at.empty()) return arguments.at;
  const int64_t every = arguments.every.value_or(std::max<int64_t>(1, total_steps / 100));
  std::vector<double> steps;
  for (int64_t step = 0; step < total_steps; step += every) {
    steps.push_back(static_cast<double>(step));
  }
  if (total_steps > 0 && (total_steps - 1) % every != 0) {
    steps.push_back(static_cast<double>(total_steps - 1));
  }
  return steps;
}

}  // namespace

int run_lr(const LrArguments& arguments) {
  if (arguments.every && *arguments.every < 1) {
    fail(ExitCode::kUsage, "--every ", *arguments.every, "; legal: at least 1");
  }
  if (arguments.every && !arguments.at.empty()) {
    fail(ExitCode::kUsage, "--every and --at exclude each other");
  }
  for (const double step : arguments.at) {
    if (!(step >= 0)) fail(ExitCode::kUsage, "--at ", step, "; legal: steps of at least 0");
  }
  const config::LoadedConfig loaded =
      config::load_config(read_config_file(arguments.config.path), arguments.config.overrides);
  for (const std::string& note : loaded.notes) std::fprintf(stderr, "%s\n", note.c_str());
  const Catalogs catalogs = make_catalogs();
  Log log;
  const std::string index = data_index(loaded, catalogs, log);
  const Prepared prepared = prepare(loaded, catalogs, index, arguments.ranks);
  const BatchPlan& plan = prepared.plan;
  const optim::LrSchedule& schedule = prepared.schedule;
  std::fprintf(stderr, "%lld steps; %s\n", static_cast<long long>(plan.total_steps()),
               schedule.describe().c_str());
  if (!arguments.plot.empty()) {
    study::Line line;
    const int64_t stride = std::max<int64_t>(1, plan.total_steps() / 2000);
    for (int64_t step = 0; step < plan.total_steps(); step += stride) {
      line.points.emplace_back(step, schedule.lr(static_cast<double>(step)));
    }
    write_file_atomically(arguments.plot,
                          study::line_plot({schedule.describe(), "step", "learning rate"}, {line}));
  }
  std::printf(arguments.csv ? "step,lr\n" : "%-12s lr\n", "step");
  for (const double step : steps_to_print(arguments, plan.total_steps())) {
    std::printf(arguments.csv ? "%.17g,%.17g\n" : "%-12.17g %.17g\n", step, schedule.lr(step));
  }
  return 0;
}

}  // namespace largo::commands
