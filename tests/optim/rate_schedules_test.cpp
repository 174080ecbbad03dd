// Momentum and weight decay over time, and which parameters belong to which group.
#include "trainer/optim/rate_schedules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "trainer/optim/optimizer_options.h"

namespace largo::optim {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

double steps_of(const Duration& duration) {
  return static_cast<double>(duration.amount) * (duration.unit == Duration::Unit::kEpochs ? 10 : 1);
}

PolicyOptions policy(PolicyKind kind, std::optional<Duration> length = {}) {
  PolicyOptions options;
  options.kind = kind;
  options.length = length;
  return options;
}

RateSchedules make(const OptimizerOptions& options, int64_t total_steps) {
  return make_rate_schedules(options, total_steps, steps_of);
}

OptimizerOptions with_momentum(std::optional<double> momentum, RateScheduleOptions schedule) {
  OptimizerOptions options;
  options.momentum = momentum;
  options.momentum_schedule = std::move(schedule);
  return options;
}

std::string problem_of(const OptimizerOptions& options, int64_t total_steps) {
  try {
    make(options, total_steps);
  } catch (const OptionError& error) {
    return error.what();
  }
  return {};
}

TEST(RateSchedules, LeaveAloneWhatIsNotScheduled) {
  const RateSchedules none = make({.momentum = 0.9, .weight_decay = 0.1}, 100);
  EXPECT_EQ(none.momentum(5), std::nullopt);
  EXPECT_EQ(none.weight_decay(5), std::nullopt);
  EXPECT_EQ(none.describe(), "");
  const Rates rates = none.at(0.3, 5);
  EXPECT_EQ(rates.lr, 0.3);
  EXPECT_EQ(rates.momentum, std::nullopt);
}

TEST(RateSchedules, HaveTheOptionAsTheirBase) {
  OptimizerOptions options = with_momentum(0.9, {.policy = policy(PolicyKind::kCosine)});
  options.momentum_schedule.policy.end = 0.5;
  options.weight_decay = 0.04;
  options.weight_decay_schedule.policy =
      policy(PolicyKind::kStep, Duration{2, Duration::Unit::kEpochs});
  const RateSchedules schedules = make(options, 101);
  EXPECT_EQ(schedules.momentum(0), 0.9);
  EXPECT_NEAR(*schedules.momentum(50), 0.7, 1e-15);
  EXPECT_EQ(schedules.momentum(100), 0.5);  // of the last update
  EXPECT_EQ(schedules.weight_decay(19), 0.04);
  EXPECT_NEAR(*schedules.weight_decay(20), 0.004, 1e-17);
  const Rates rates = schedules.at(0.3, 100);
  EXPECT_EQ(rates.lr, 0.3);
  EXPECT_EQ(rates.momentum, 0.5);
  EXPECT_EQ(schedules.describe(),
            "momentum: cosine to 0.5 in 100 steps; weight decay: step × 0.1 every 20 steps");
}

TEST(RateSchedules, ScheduleTheFirstBeta) {
  OptimizerOptions options{.kind = "adamw"};
  options.betas = {0.95, 0.99};
  options.momentum_schedule = {.policy = policy(PolicyKind::kOneCycle), .middle = 0.85};
  const RateSchedules schedules = make(options, 401);
  EXPECT_EQ(schedules.momentum(0), 0.95);
  EXPECT_EQ(schedules.momentum(100), 0.85);
  EXPECT_EQ(schedules.momentum(400), 0.95);
}

// fastai's and PyTorch's.
TEST(RateSchedules, OneCycleToTwelveDigits) {
  std::ifstream file(LARGO_SOURCE_DIR "/tests/golden/lr_policies.csv");
  int rows = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.find("_MOM,") == std::string::npos) continue;
    ++rows;
    const size_t open = line.find('{');
    const size_t close = line.find('}');
    std::string text = line.substr(open, close + 1 - open);
    std::erase(text, '\n');
    for (size_t at = 0; (at = text.find("\"\"", at)) != std::string::npos; ++at) text.erase(at, 1);
    const json p = json::parse(text);
    const std::string numbers = line.substr(close + 3);
    const double t = std::stod(numbers);
    const double expected = std::stod(numbers.substr(numbers.find(',') + 1));

    RateScheduleOptions schedule;
    schedule.policy.pct_start = p["pct_start"];
    double first = 0;
    int64_t steps = 0;
    if (line.starts_with("ONECYCLE_FASTAI")) {
      schedule.policy.kind = PolicyKind::kOneCycle;
      first = p["moms"][0];
      schedule.middle = p["moms"][1];
      if (p["moms"][2] != p["moms"][0]) schedule.last = p["moms"][2];
      steps = p["total"].get<int64_t>() + 1;  // fastai's last update is one before the end
    } else {
      schedule.policy.kind = PolicyKind::kOneCycleTorch;
      schedule.policy.three_phase = p["three_phase"];
      schedule.policy.anneal = p["anneal"] == "cos" ? Anneal::kCosine : Anneal::kLinear;
      first = p["max_momentum"];
      schedule.middle = p["base_momentum"];
      steps = p["total_steps"];
    }
    const RateSchedules made = make(with_momentum(first, schedule), steps);
    EXPECT_NEAR(*made.momentum(t), expected, 1e-14 + 1e-12 * expected) << line;
    // Given as a length it is the same.
    const bool fastai = schedule.policy.kind == PolicyKind::kOneCycle;
    schedule.policy.length =
        Duration{static_cast<double>(fastai ? steps - 1 : steps), Duration::Unit::kSteps};
    EXPECT_NEAR(*make(with_momentum(first, schedule), 5000).momentum(t), expected,
                1e-14 + 1e-12 * expected)
        << line;
  }
  EXPECT_EQ(rows, 53);
}

TEST(RateSchedules, OfCyclesHaveNoBase) {
  OptimizerOptions options;
  options.momentum_schedule.policy =
      policy(PolicyKind::kTriangular, Duration{1, Duration::Unit::kEpochs});
  options.momentum_schedule.policy.k0 = 0.8;
  options.momentum_schedule.policy.k1 = 0.9;
  options.weight_decay_schedule = options.momentum_schedule;
  EXPECT_THAT(check(options), IsEmpty());
  EXPECT_EQ(with_defaults(options).momentum, std::nullopt);
  EXPECT_EQ(with_defaults(options).weight_decay, std::nullopt);
  EXPECT_EQ(make(options, 100).momentum(10), 0.9);
  EXPECT_EQ(make(options, 100).weight_decay(0), 0.8);
  options.momentum = 0.9;
  options.weight_decay = 0;
  EXPECT_THAT(check(options), ElementsAre(Field(&OptionProblem::key, "optimizer.momentum"),
                                          Field(&OptionProblem::key, "optimizer.weight_decay")));
}

// The first of the betas has to be there, beside the second.
TEST(RateSchedules, OfCyclesSayWhichBetaTheyReplace) {
  OptimizerOptions options;
  options.kind = "adamw";
  options.momentum_schedule.policy =
      policy(PolicyKind::kTriangular, Duration{1, Duration::Unit::kEpochs});
  options.momentum_schedule.policy.k0 = 0.8;
  options.momentum_schedule.policy.k1 = 0.9;
  EXPECT_THAT(make(options, 100).describe(), Not(HasSubstr("betas")));
  options.betas = {0.7, 0.99};
  EXPECT_THAT(check(options), IsEmpty());
  EXPECT_EQ(make(options, 100).momentum(0), 0.8);
  EXPECT_THAT(make(options, 100).describe(),
              HasSubstr(", in place of 0.7, the first of optimizer.betas"));
  options.momentum_schedule.policy.kind = PolicyKind::kCosine;  // starts from 0.7
  EXPECT_THAT(make(options, 100).describe(), Not(HasSubstr("in place of")));
}

TEST(RateSchedules, MayHavePieces) {
  OptimizerOptions options;
  options.momentum = 0.9;
  PolicyOptions& pieces = options.momentum_schedule.policy;
  pieces.kind = PolicyKind::kPiecewise;
  pieces.pieces.resize(2);
  pieces.pieces[0].until = Duration{2, Duration::Unit::kEpochs};
  pieces.pieces[1].base = 0.5;
  EXPECT_THAT(check(options), IsEmpty());
  EXPECT_EQ(make(options, 100).momentum(19), 0.9);
  EXPECT_EQ(make(options, 100).momentum(20), 0.5);
  pieces.pieces[1].base = 1.5;
  EXPECT_THAT(problem_of(options, 100), HasSubstr("gives a momentum of 1.5 at step 20"));
}

TEST(RateSchedules, RefuseAMomentumThatIsNone) {
  RateScheduleOptions cycle = {
      .policy = policy(PolicyKind::kTriangular, Duration{1, Duration::Unit::kEpochs})};
  cycle.policy.k0 = 0.5;
  cycle.policy.k1 = 0.95;
  EXPECT_EQ(problem_of(with_momentum({}, cycle), 100), "");
  cycle.policy.k1 = 1;
  EXPECT_EQ(problem_of(with_momentum({}, cycle), 100),
            "optimizer.momentum_schedule: gives a momentum of 1 at step 10; legal: >= 0 and < 1");
  EXPECT_EQ(problem_of(with_momentum({}, cycle), 10), "") << "the top is not reached";
  EXPECT_THAT(
      problem_of(with_momentum(0.9, {.policy = policy(PolicyKind::kOneCycle), .middle = 1.5}), 101),
      HasSubstr("gives a momentum of 1"));
  OptimizerOptions decay{.weight_decay = 0.1};
  decay.weight_decay_schedule.policy =
      policy(PolicyKind::kStep, Duration{1, Duration::Unit::kSteps});
  decay.weight_decay_schedule.policy.gamma = 10;
  EXPECT_THAT(problem_of(decay, 400),
              HasSubstr("optimizer.weight_decay_schedule: gives a weight decay of inf at step 3"));
}

TEST(RateSchedules, AreCheckedAlongLongRuns) {
  RateScheduleOptions cycle = {
      .policy = policy(PolicyKind::kTriangular, Duration{50'000'000, Duration::Unit::kSteps})};
  cycle.policy.k1 = 1.5;
  EXPECT_THAT(problem_of(with_momentum({}, cycle), 100'000'001), HasSubstr("legal: >= 0 and < 1"));
}

// What no check before the run has seen.
TEST(RateSchedules, RefuseIllegalRatesAtTheirStep) {
  const double inf = std::numeric_limits<double>::infinity();
  const RateSchedules none;
  EXPECT_EQ(none.at(0.5, 3).lr, 0.5);
  EXPECT_THROW(none.at(inf, 3), AgreedError);
  EXPECT_THROW(none.at(std::nan(""), 3), AgreedError);
  EXPECT_THROW(none.at(-1e-3, 3), AgreedError);
  RateScheduleOptions doubled = {
      .policy = policy(PolicyKind::kExponential, Duration{1000, Duration::Unit::kSteps})};
  doubled.policy.gamma = 2;
  const RateSchedules rising = make(with_momentum(0.9, doubled), 100);
  EXPECT_LT(rising.at(0.1, 99).momentum.value(), 1);
  EXPECT_THROW(rising.at(0.1, 1000), AgreedError);
}

TEST(RateSchedules, NameTheirOwnKeys) {
  OptimizerOptions options;
  options.momentum_schedule.policy = policy(PolicyKind::kMultistep);
  options.momentum_schedule.policy.milestones = {{20, Duration::Unit::kSteps},
                                                 {1, Duration::Unit::kEpochs}};
  EXPECT_THAT(problem_of(options, 100), HasSubstr("optimizer.momentum_schedule.milestones: 1ep"));
  options.momentum_schedule.policy.milestones.clear();
  options.weight_decay_schedule.policy.kind = PolicyKind::kInverseSqrt;
  EXPECT_THAT(check(options),
              ElementsAre(Field(&OptionProblem::key, "optimizer.momentum_schedule.milestones"),
                          Field(&OptionProblem::key, "optimizer.weight_decay_schedule.timescale")));
}

// Their descriptions speak of what they schedule.
TEST(RateSchedules, DeclareThePolicysKeys) {
  OptimizerOptions options;
  OptionTable table;
  declare_options(table, options);
  int keys = 0;
  for (const Option& option : table.options()) {
    if (!option.key.starts_with("optimizer.momentum_schedule.")) continue;
    ++keys;
    EXPECT_THAT(option.info.description, testing::Not(HasSubstr("learning rate"))) << option.key;
    EXPECT_THAT(option.info.description, testing::Not(HasSubstr("base_batch"))) << option.key;
    EXPECT_THAT(option.info.description, testing::Not(HasSubstr("LR "))) << option.key;
  }
  EXPECT_GT(keys, 20);
  EXPECT_EQ(table.find("optimizer.momentum_schedule.div"), nullptr);
  EXPECT_THAT(table.find("optimizer.momentum_schedule.kind")->info.applies.kinds,
              testing::Contains("lamb"));
  EXPECT_THAT(table.find("optimizer.momentum_schedule.kind")->info.applies.kinds,
              testing::Not(testing::Contains("adagrad")));
  EXPECT_EQ(table.find("optimizer.weight_decay_schedule.kind")->info.applies.kind_key, "");
}

TEST(Glob, Matches) {
  for (const auto& [pattern, name] : std::vector<std::pair<std::string, std::string>>{
           {"*", ""},
           {"*", "fc.bias"},
           {"*.bias", "layer1.0.bn1.bias"},
           {"fc.*", "fc.weight"},
           {"layer?.*.weight", "layer1.0.conv1.weight"},
           {"*a*b", "aabab"},
           {"**", "x"},
           {"fc.bias", "fc.bias"},
           {"???", "abc"},
           {"*.*.*", "a.b.c.d"}}) {
    EXPECT_TRUE(glob_matches(pattern, name)) << pattern << ' ' << name;
  }
  for (const auto& [pattern, name] :
       std::vector<std::pair<std::string, std::string>>{{"", "a"},
                                                        {"fc", "fc.weight"},
                                                        {"fc.?", "fc."},
                                                        {"*.bias", "bias"},
                                                        {"*.bias", "fc.bias2"},
                                                        {"???", "ab"},
                                                        {"???", "abcd"},
                                                        {"a*b", "ac"},
                                                        {"fc.*", "xfc.weight"}}) {
    EXPECT_FALSE(glob_matches(pattern, name)) << pattern << ' ' << name;
  }
  // Exponential in nothing.
  std::string stars;
  for (int i = 0; i < 1000; ++i) stars += "*a";
  EXPECT_FALSE(glob_matches(stars + "b", std::string(2000, 'a')));
}

const std::vector<std::string> kNames = {"conv1.weight", "bn1.weight", "bn1.bias", "fc.weight",
                                         "fc.bias",      "a.weight",   "b.weight"};

TEST(Groups, TheFirstMatchWins) {
  const auto assigned =
      assign_groups({{.match = "fc.*"}, {.match = "*.bias"}, {.match = "conv1.weight"}}, kNames);
  EXPECT_THAT(assigned, ElementsAre(2, std::nullopt, 1, 0, 0, std::nullopt, std::nullopt));
  EXPECT_THAT(assign_groups({}, kNames), testing::Each(std::nullopt));
}

std::string assign_problem(const std::vector<GroupOptions>& groups) {
  try {
    assign_groups(groups, kNames);
  } catch (const OptionError& error) {
    return error.what();
  }
  return {};
}

TEST(Groups, WithoutParametersAreWrong) {
  EXPECT_EQ(assign_problem({{.match = "fc.*"}, {.match = "cnv1.*"}}),
            "optimizer.groups.1.match: \"cnv1.*\" matches no parameter; near it: conv1.weight");
  EXPECT_EQ(assign_problem({{.match = "nothing.like.it.at.all"}}),
            "optimizer.groups.0.match: \"nothing.like.it.at.all\" matches no parameter; there are "
            "conv1.weight, bn1.weight, bn1.bias, fc.weight, fc.bias and 2 more");
  EXPECT_THAT(
      assign_problem({{.match = "*"}, {.match = "fc.*"}}),
      HasSubstr("optimizer.groups.1.match: every parameter that \"fc.*\" matches belongs to "
                "a group before it"));
}

TEST(Groups, AreChecked) {
  EXPECT_THAT(check(std::vector<GroupOptions>{{.match = "a"}, {.match = "b"}}), IsEmpty());
  const auto problems =
      check(std::vector<GroupOptions>{{.match = "a"}, {.match = ""}, {.match = "a"}});
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_EQ(problems[0].key, "optimizer.groups.1.match");
  EXPECT_THAT(problems[1].message, HasSubstr("also that of group 0"));
}

TEST(Groups, AreDescribed) {
  EXPECT_EQ(describe_groups({{.match = "fc.*", .lr_factor = 10, .weight_decay = 0.0},
                             {.match = "*.bias", .lr_factor = 2}},
                            kNames),
            "fc.* (2): LR × 10, weight decay 0; *.bias (1): LR × 2");
  EXPECT_EQ(describe_groups({}, kNames), "");
}

}  // namespace
}  // namespace largo::optim
