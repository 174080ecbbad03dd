#include "trainer/commands/lr_find_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "comm/base/error.h"
#include "trainer/commands/build_info.h"
#include "trainer/config/config_print.h"
#include "trainer/optim/make_policy.h"
#include "trainer/optim/policy_options.h"
#include "trainer/optim/scaling.h"
#include "trainer/study/line_plot.h"

namespace largo::commands {

namespace {

using nlohmann::ordered_json;

const char* word_of(optim::RangeTest::End end) {
  switch (end) {
    case optim::RangeTest::End::kWhole:
      return "whole";
    case optim::RangeTest::End::kDiverged:
      return "diverged";
    case optim::RangeTest::End::kNotFinite:
      return "not_finite";
  }
  return "";
}

const char* word_of(optim::RampKind kind) {
  return kind == optim::RampKind::kLinear ? "linear" : "exponential";
}

ordered_json settings_json(const RangeReport& report) {
  const config::RunConfig& values = report.run.config.values;
  const BatchPlan& plan = report.run.prepared.plan;
  const optim::Ramp& ramp = report.test.ramp();
  return {{"ramp", word_of(ramp.kind)},
          {"from", ramp.from},
          {"to", ramp.to},
          {"steps", ramp.steps},
          {"smoothing", "debiased exponential moving average, beta 0.98"},
          {"method", "fastai v2: first tenth of the steps and last 5 points left out"},
          {"model", values.model.name},
          {"optimizer", values.optimizer.kind},
          {"seed", values.run.seed},
          {"world", plan.world()},
          {"global_batch", plan.global_batch()},
          {"accumulation", plan.accumulation()},
          {"config_hash", config::config_hash(values)}};
}

ordered_json suggestion_json(const RangeReport& report, const optim::Suggestion& suggestion) {
  if (!suggestion.lr) return {{"why_not", suggestion.why_not}};
  ordered_json json = {{"effective_lr", *suggestion.lr}};
  if (!report.base.key.empty()) json[report.base.key] = *suggestion.lr / report.base.factor;
  return json;
}

const std::vector<optim::PolicyPiece>& parts_of(const optim::PolicyOptions& policy) {
  return policy.kind == optim::PolicyKind::kPlateauChange ? policy.plateau.levels : policy.pieces;
}

// Whether all of the policy follows from the base beside it: the schedule's greatest LR may come
// from any piece or level.
bool has_one_base(const optim::PolicyOptions& policy) {
  const std::vector<optim::PolicyPiece>& parts = parts_of(policy);
  return !optim::is_cycle(policy.kind) &&
         std::all_of(parts.begin(), parts.end(), [](const optim::PolicyPiece& part) {
           return !part.base && has_one_base(part.policy);
         });
}

std::string why_no_base(const optim::PolicyOptions& policy) {
  const bool of_levels = policy.kind == optim::PolicyKind::kPlateauChange;
  return concat(of_levels ? "levels" : "pieces", " of lr.policy have learning rates of their own",
                optim::uses_base(policy) ? " beside those that start from lr.base" : "");
}

// Points above it only hide the others: the loss is drawn up to a third more than its fall above
// where it started.
double highest_drawn(const std::vector<optim::RangePoint>& points) {
  double least = std::numeric_limits<double>::infinity();
  double start = -least;
  for (const optim::RangePoint& point : points) least = std::min(least, point.smoothed);
  for (size_t i = 0; i < points.size() && i < 5; ++i) start = std::max(start, points[i].loss);
  return start + (start - least) / 3;
}

}  // namespace

std::string lr_text(double lr) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.4g", lr);
  return text.data();
}

std::string BaseOfLr::text(double effective) const {
  return key.empty() ? "-" : lr_text(effective / factor);
}

std::pair<int64_t, double> greatest_lr(const optim::LrSchedule& schedule, int64_t total_steps) {
  std::pair<int64_t, double> greatest = {0, schedule.lr(0)};
  optim::for_steps(total_steps, [&](double step) {
    const double lr = schedule.lr(step);
    if (lr > greatest.second) greatest = {static_cast<int64_t>(step), lr};
  });
  return greatest;
}

BaseOfLr base_of_lr(const RunInput& run) {
  const optim::LrOptions& lr = run.config.values.lr;
  const int64_t batch = run.prepared.plan.global_batch();
  if (lr.scaling == optim::ScalingRule::kAdaScale && batch != lr.base_batch) {
    throw run.config.error(
        {{"lr.scaling",
          concat("adascale has a gain of 1 to ", batch / static_cast<double>(*lr.base_batch),
                 " that each step's gradients decide, so an LR found at batch ", batch,
                 " follows from no one base; give lr-find batch.global=", *lr.base_batch,
                 " (lr.base_batch), where the gain is 1")}});
  }
  const optim::LrSchedule& schedule = run.prepared.schedule;
  BaseOfLr base = {.key = {},
                   .why_not = {},
                   .factor = schedule.factor(),
                   .total_steps = run.prepared.plan.total_steps()};
  const auto [step, greatest] = greatest_lr(schedule, base.total_steps);
  base.greatest_at = step;
  base.greatest_over_peak = greatest / schedule.peak();
  if (optim::is_cycle(lr.policy.kind)) {
    base.key = "lr.policy.k1";
  } else if (has_one_base(lr.policy)) {
    base.key = "lr.base";
  } else {
    base.why_not = why_no_base(lr.policy);
  }
  return base;
}

std::string describe_base(const RunInput& run, const BaseOfLr& base) {
  if (base.key.empty()) {
    return concat(base.why_not, ": multiply all of them so that the greatest, times ", base.factor,
                  " (lr.scaling ", optim::word_of(run.config.values.lr.scaling),
                  "), is the effective LR");
  }
  const optim::LrOptions& lr = run.config.values.lr;
  const int64_t batch = run.prepared.plan.global_batch();
  std::string scaled =
      lr.scaling == optim::ScalingRule::kNone
          ? concat("effective LR = ", base.key, " (no scaling rule)")
          : concat("effective LR = ", base.key, " x ", base.factor, " (lr.scaling ",
                   optim::word_of(lr.scaling), ", batch ", batch, " / ", *lr.base_batch, ")");
  if (base.total_steps == 0) return scaled;
  const std::string where = concat("at step ", base.greatest_at, " of ", base.total_steps);
  if (std::abs(base.greatest_over_peak - 1) < 0.02) {
    return concat(scaled, ", the schedule's greatest LR, ", where);
  }
  return concat(scaled, "; the schedule's own greatest LR, ", where, ", is ",
                lr_text(base.greatest_over_peak), " of that");
}

std::string RangeReport::table() const {
  std::string text =
      concat("suggestion  effective_lr  ", base.key.empty() ? "base" : base.key, "\n");
  for (const auto& [name, suggestion] : suggestions) {
    if (!suggestion.lr) continue;
    std::array<char, 128> line;
    std::snprintf(line.data(), line.size(), "%-10s  %-12s  %s\n", name.c_str(),
                  lr_text(*suggestion.lr).c_str(), base.text(*suggestion.lr).c_str());
    text += line.data();
  }
  return text;
}

std::vector<std::string> RangeReport::why_not() const {
  std::vector<std::string> sentences;
  for (const auto& [name, suggestion] : suggestions) {
    const bool is_new =
        std::find(sentences.begin(), sentences.end(), suggestion.why_not) == sentences.end();
    if (!suggestion.lr && is_new) sentences.push_back(suggestion.why_not);
  }
  return sentences;
}

std::string RangeReport::json() const {
  ordered_json of_suggestions = ordered_json::object();
  for (const auto& [name, suggestion] : suggestions) {
    of_suggestions[name] = suggestion_json(*this, suggestion);
  }
  ordered_json points = ordered_json::array();
  for (const optim::RangePoint& point : test.points()) {
    points.push_back({{"lr", point.lr},
                      {"loss", point.loss},
                      {"smoothed", point.smoothed},
                      {"top1", point.top1}});
  }
  ordered_json json = {{"format", 1},
                       {"largo", version()},
                       {"config", run.config.provenance.file.name},
                       {"settings", settings_json(*this)},
                       {"asked_for", suggestions.front().name},
                       {"suggestions", std::move(of_suggestions)},
                       {"base", {{"key", base.key}, {"factor", base.factor}}},
                       {"ended", word_of(test.end())}};
  if (accuracy) json["accuracy_falls"] = accuracy->falls;
  json["points"] = std::move(points);
  return json.dump(1) + "\n";
}

std::string RangeReport::plot() const {
  constexpr double kGap = std::numeric_limits<double>::quiet_NaN();
  const double highest = accuracy ? 1 : highest_drawn(test.points());
  study::Line each = {.name = accuracy ? "accuracy of each batch" : "loss of each batch",
                      .points = {}};
  study::Line smoothed = {.name = "smoothed", .points = {}};
  each.points.reserve(test.points().size());
  smoothed.points.reserve(test.points().size());
  double low = highest, high = -highest;
  for (const optim::RangePoint& point : test.points()) {
    const double y = accuracy ? point.top1 : point.loss;
    each.points.emplace_back(point.lr, y > highest ? kGap : y);
    smoothed.points.emplace_back(point.lr, point.smoothed > highest ? kGap : point.smoothed);
    if (y > highest) continue;
    low = std::min(low, y);
    high = std::max(high, y);
  }
  std::vector<study::Line> lines = {std::move(each)};
  if (!accuracy) lines.push_back(std::move(smoothed));
  for (const auto& [name, suggestion] : suggestions) {
    if (!suggestion.lr) continue;
    lines.push_back({.name = concat(name, " ", lr_text(*suggestion.lr)),
                     .points = {{*suggestion.lr, low}, {*suggestion.lr, high}}});
  }
  const config::RunConfig& values = run.config.values;
  return study::line_plot(
      {.title = concat("LR range test: ", values.model.name, ", ", values.optimizer.kind,
                       ", batch ", run.prepared.plan.global_batch()),
       .x_label = "effective learning rate",
       .y_label = accuracy ? "accuracy" : "loss",
       .log_x = test.ramp().kind == optim::RampKind::kExponential},
      lines);
}

}  // namespace largo::commands
