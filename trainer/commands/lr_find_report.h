// What `largo lr-find` says of a range test: rows for stdout, JSON, SVG.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trainer/commands/training_setup.h"
#include "trainer/optim/lr_range.h"
#include "trainer/optim/lr_schedule.h"

namespace largo::commands {

// The number of the run file that an effective LR follows from.
struct BaseOfLr {
  std::string key;                // lr.base, lr.policy.k1; empty: there is no such number
  std::string why_not;            // where there is none: "pieces of lr.policy have …"
  double factor = 1;              // of the scaling rule: effective = base * factor
  int64_t total_steps = 0;        // of the run
  int64_t greatest_at = 0;        // the first step with the schedule's greatest LR
  double greatest_over_peak = 1;  // 1 but where the policy stays below base * factor, or rises

  // Four digits, which is more than a range test knows; "-" without a key.
  std::string text(double effective) const;
};

// The first step with the greatest LR of a run, and that LR; of very long ones by four million
// steps.
std::pair<int64_t, double> greatest_lr(const optim::LrSchedule& schedule, int64_t total_steps);

// Throws a ConfigError for adascale, whose gain is not known before training. run's plan is still
// its own.
BaseOfLr base_of_lr(const RunInput& run);

// "effective LR = lr.base x 2 (…)", and what else the base means to the schedule.
std::string describe_base(const RunInput& run, const BaseOfLr& base);

struct NamedSuggestion {
  std::string name;
  optim::Suggestion suggestion;
};

struct RangeReport {
  const RunInput& run;
  const optim::RangeTest& test;
  BaseOfLr base;
  std::vector<NamedSuggestion> suggestions;  // the one that was asked for comes first
  std::optional<optim::AccuracyRange> accuracy = {};

  std::string table() const;  // a line of titles, then one line per suggestion that there is
  std::string json() const;   // settings, suggestions, points
  std::string plot() const;   // SVG
  std::vector<std::string> why_not() const;  // sentences on those that there are not, each once
};

// LRs as all outputs print them.
std::string lr_text(double lr);

}  // namespace largo::commands
