#include "trainer/lr_find.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/agree.h"
#include "comm/base/error.h"
#include "trainer/base/atomic_file.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/lr_find_report.h"
#include "trainer/commands/precision.h"
#include "trainer/commands/setup.h"
#include "trainer/commands/training_setup.h"
#include "trainer/config/set_value.h"

namespace largo::commands {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kFewestSteps = 8;  // of which 3 points are left to suggestions
constexpr int64_t kRows = 20;        // of the table on stderr

template <class... Parts>
[[noreturn]] void wrong_argument(const Parts&... parts) {
  throw AgreedError(ExitCode::kUsage, concat(parts...));
}

optim::Ramp ramp_of(const LrFindArguments& arguments, const std::string& optimizer) {
  optim::Ramp ramp = optim::usual_ramp(optimizer);
  const std::string kind =
      arguments.ramp.empty() ? (arguments.accuracy ? "linear" : "exponential") : arguments.ramp;
  ramp.kind = kind == "linear" ? optim::RampKind::kLinear : optim::RampKind::kExponential;
  ramp.steps = arguments.steps;
  if (arguments.from) ramp.from = *arguments.from;
  if (arguments.to) ramp.to = *arguments.to;
  if (ramp.steps < kFewestSteps) {
    wrong_argument("--steps ", ramp.steps,
                   ": the first tenth and the last 5 say nothing, and too "
                   "few are left; legal: at least ",
                   kFewestSteps);
  }
  if (!(ramp.from > 0) || !(ramp.to > ramp.from) || !std::isfinite(ramp.to / ramp.from)) {
    wrong_argument("--from ", ramp.from, " --to ", ramp.to, "; legal: 0 < from < to");
  }
  return ramp;
}

// Everything about --set that can be known before the test.
void check_set(const LrFindArguments& arguments, const RunInput& run, const BaseOfLr& base) {
  if (arguments.set.empty()) return;
  if (base.key.empty()) {
    wrong_argument("--set: ", base.why_not, ", so no one number of the file is the base");
  }
  if (run.config.provenance.of(base.key).kind == config::Origin::Kind::kOverride) {
    wrong_argument("--set changes ", base.key, " in a copy of ", arguments.config.path,
                   ", but the command line overrides it; leave ", base.key, "=… out");
  }
  if (fs::exists(arguments.set)) {
    wrong_argument("--set ", arguments.set, " is there already, and is not overwritten");
  }
}

// What can be known before the test of the files that are written after it.
void check_files(const LrFindArguments& arguments) {
  for (const auto& [option, path] : {std::pair{"--plot", &arguments.plot},
                                     {"--json", &arguments.json},
                                     {"--set", &arguments.set}}) {
    if (path->empty()) continue;
    std::error_code none;
    if (fs::equivalent(*path, arguments.config.path, none)) {
      wrong_argument(option, " ", *path, " is the run file itself");
    }
    const fs::path folder = fs::absolute(*path).parent_path();
    if (!fs::is_directory(folder, none)) {
      throw AgreedError(ExitCode::kIo,
                        concat(option, " ", *path, ": there is no folder ", folder.string()));
    }
  }
}

// The answer is the LR of the base. Throws where another one of the copy, which stays as it is,
// makes its schedule something else.
void check_schedule(const RunInput& run, const BaseOfLr& base, const optim::LrOptions& copy) {
  const optim::LrSchedule schedule = optim::make_schedule(copy, run.prepared.schedule_inputs);
  const auto [step, greatest] = greatest_lr(schedule, base.total_steps);
  const double wanted = base.greatest_over_peak * schedule.peak();
  if (std::abs(greatest / wanted - 1) < 0.02) return;
  fail(ExitCode::kConfig, "the greatest LR of its schedule would be ", lr_text(greatest),
       ", at step ", step, ", and not ", lr_text(wanted),
       ": other learning rates of the file (an end, k0 or min_lr of lr.policy, or lr.warmup.start) "
       "stay as they are; change them in proportion");
}

// The run file's text with the base that the LR means, once it has been seen to read back as that.
// Throws Error{kConfig} where it does not: the base may not be legal beside the file's other
// values.
std::string text_with_base(const LrFindArguments& arguments, const RunInput& run,
                           const BaseOfLr& base, double lr) {
  const std::string number = base.text(lr);
  try {
    std::string text = config::with_value(run.config.provenance.file, base.key, number);
    const config::LoadedConfig copy =
        config::load_config({arguments.set, text}, arguments.config.overrides);
    const optim::LrOptions& read = copy.values.lr;
    const double now = base.key == "lr.base" ? read.base.value_or(0) : read.policy.k1;
    if (lr_text(now) != number) fail(ExitCode::kInternal, "it reads back as ", now);
    check_schedule(run, base, read);
    return text;
  } catch (const Error& error) {
    fail(error.code(), "--set: ", arguments.set, " is not written, because of ", base.key, " ",
         number, " in it: ", error.what());
  }
}

void write_config(const LrFindArguments& arguments, const RunInput& run, const BaseOfLr& base,
                  double lr, Log& log) {
  write_file_atomically(arguments.set, text_with_base(arguments, run, base, lr));
  log.note(concat(arguments.set, ": ", run.config.provenance.file.name, " with ", base.key, " ",
                  base.text(lr)));
  if (!arguments.config.overrides.empty()) {
    log.note(
        "the other key=value of this command line are not in it: give them to the training "
        "too");
  }
}

// The test's answer comes before the files, any of which may turn out not to be writable.
void print_answer(const RangeReport& report, Log& log, bool to_stdout) {
  for (const std::string& sentence : report.why_not()) log.note(sentence);
  if (!report.suggestions.front().suggestion.lr) return;
  if (report.accuracy && !report.accuracy->falls) {
    log.note(report.test.end() == optim::RangeTest::End::kWhole
                 ? "the accuracy does not fall within the range: high is where the test ended; try "
                   "a higher --to"
                 : "the loss diverged before the accuracy of twentieths of the ramp had fallen: "
                   "high is where the test ended; a lower --to or more --steps tell more");
  }
  log.note(describe_base(report.run, report.base));
  if (!to_stdout) return;
  std::fputs(report.table().c_str(), stdout);
  std::fflush(stdout);
}

// All that can be written is, before the first that cannot is thrown.
void write_files(const LrFindArguments& arguments, const RangeReport& report, Log& log) {
  std::exception_ptr first_error;
  const auto attempt = [&](const std::function<void()>& write) {
    try {
      write();
    } catch (const std::exception&) {
      if (!first_error) first_error = std::current_exception();
    }
  };
  if (!arguments.json.empty()) {
    attempt([&] { write_file_atomically(arguments.json, report.json()); });
  }
  if (!arguments.plot.empty()) {
    attempt([&] { write_file_atomically(arguments.plot, report.plot()); });
  }
  const std::optional<double>& lr = report.suggestions.front().suggestion.lr;
  if (!arguments.set.empty() && lr) {
    attempt([&] { write_config(arguments, report.run, report.base, *lr, log); });
  }
  if (first_error) std::rethrow_exception(first_error);
}

std::vector<NamedSuggestion> suggestions_of(const LrFindArguments& arguments,
                                            const optim::RangeTest& test,
                                            const std::optional<optim::AccuracyRange>& accuracy) {
  if (accuracy) return {{"high", accuracy->high}, {"low", accuracy->low}};
  std::vector<NamedSuggestion> found;
  found.reserve(optim::kSuggestionKinds.size());
  for (const optim::SuggestionKind kind : optim::kSuggestionKinds) {
    NamedSuggestion named = {word_of(kind), suggest(kind, test)};
    const bool first = named.name == arguments.suggest;
    found.insert(first ? found.begin() : found.end(), std::move(named));
  }
  return found;
}

OnPoint point_lines(const optim::Ramp& ramp, Log& log) {
  const int64_t every = std::max<int64_t>(1, ramp.steps / kRows);
  log.note("step    LR          loss      smoothed  top-1 %");
  return [every, &log](int64_t step, const optim::RangePoint& point) {
    if (step % every != 0) return;
    std::array<char, 128> line;
    std::snprintf(line.data(), line.size(), "%-6lld  %-10.3g  %-8.4g  %-8.4g  %.1f",
                  static_cast<long long>(step), point.lr, point.loss, point.smoothed,
                  100 * point.top1);
    log.note(line.data());
  };
}

optim::RangeTest test_range(const RunInput& run, const optim::Ramp& ramp, int64_t clock,
                            const comm::MpiSession& session, Log& log) {
  Training training(run, session, /*log_folder=*/{});
  log.note(training.describe_batch());
  log.note(concat("range test: ", ramp.steps, " steps from LR ", lr_text(ramp.from), " to ",
                  lr_text(ramp.to), "; ", training.describe_ranks(), "; nothing is saved"));
  RampController controller(ramp, static_cast<double>(clock));
  // Never written to.
  checkpoint::Checkpointer checkpoints(run.config.values.checkpoint, {}, *training.groups.world,
                                       log);
  metrics::Recorder recorder(session.rank(), std::nullopt);
  metrics::Progress progress(log, ramp.steps, /*bar=*/false);
  comm::GradientReducer reducer = training.make_reducer({});
  return run_range_test(training.parts(reducer, controller, checkpoints, recorder, progress, log),
                        training.learner, controller, point_lines(ramp, log));
}

int find(const LrFindArguments& arguments, const comm::MpiSession& session, Log& log) {
  RunInput run = read_run(session, log, arguments.config);
  settle_precision(run, session, {}, log);
  const optim::Ramp ramp = ramp_of(arguments, run.config.values.optimizer.kind);
  const BaseOfLr base = base_of_lr(run);
  comm::on_rank_zero(session, [&] {
    check_set(arguments, run, base);
    check_files(arguments);
  });

  // The run's own batches, on into further epochs where the data is short.
  run.prepared.plan =
      run.prepared.plan.with_length({static_cast<double>(ramp.steps), Duration::Unit::kSteps});
  const optim::RangeTest test = test_range(run, ramp, base.greatest_at, session, log);

  RangeReport report = {.run = run, .test = test, .base = base, .suggestions = {}};
  if (arguments.accuracy) {
    report.accuracy = optim::accuracy_range(test, run.prepared.plan.global_batch());
  }
  report.suggestions = suggestions_of(arguments, test, report.accuracy);
  print_answer(report, log, session.rank() == 0);
  comm::on_rank_zero(session, [&] { write_files(arguments, report, log); });
  const bool found = report.suggestions.front().suggestion.lr.has_value();
  return found ? 0 : static_cast<int>(ExitCode::kNumerical);
}

}  // namespace

int run_lr_find(const LrFindArguments& arguments, ProgramArguments program) {
  const comm::MpiSession session(program.argc, program.argv,
                                 init_timeout_s(arguments.config.overrides));
  Log log;
  log.set_rank(session.rank(), session.size(), session.host());
  return guarded(session, log, [&] { return find(arguments, session, log); });
}

}  // namespace largo::commands
