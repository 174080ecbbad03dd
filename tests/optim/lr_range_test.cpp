#include "trainer/optim/lr_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace largo::optim {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

json golden() {
  std::ifstream file(LARGO_SOURCE_DIR "/tests/golden/lr_range.json");
  return json::parse(file);
}

RangeTest run(const Ramp& ramp, const std::function<double(int64_t)>& loss) {
  RangeTest test(ramp);
  int64_t step = 0;
  while (test.add(loss(step), 0)) ++step;
  return test;
}

RangeTest run(const json& example) {
  const Ramp ramp = {
      .kind = example.at("ramp") == "linear" ? RampKind::kLinear : RampKind::kExponential,
      .from = example.at("from"),
      .to = example.at("to"),
      .steps = example.at("steps")};
  const json& losses = example.at("losses");
  return run(ramp, [&](int64_t step) {
    const json& loss = losses.at(static_cast<size_t>(step));
    return loss.is_null() ? kNan : loss.get<double>();
  });
}

// The reasons why there is no suggestion of any kind, which must be one.
std::string why_none(const RangeTest& test) {
  std::string why;
  for (const SuggestionKind kind : kSuggestionKinds) {
    const Suggestion suggestion = suggest(kind, test);
    EXPECT_FALSE(suggestion.lr) << word_of(kind) << ' ' << suggestion.lr.value_or(0);
    if (kind == kSuggestionKinds.front()) why = suggestion.why_not;
    EXPECT_EQ(suggestion.why_not, why);
  }
  EXPECT_FALSE(why.empty());
  return why;
}

const Ramp kRamp = {.from = 1e-5, .to = 10, .steps = 100};

TEST(Ramp, GoesByEqualFactorsOrEqualSteps) {
  const Ramp exponential = {.from = 1e-4, .to = 100, .steps = 6};
  for (int i = 0; i <= 6; ++i) {
    EXPECT_NEAR(exponential.lr(i), std::pow(10.0, i - 4), 1e-14 * std::pow(10.0, i)) << i;
  }
  const Ramp linear = {.kind = RampKind::kLinear, .from = 1, .to = 3, .steps = 4};
  EXPECT_EQ(linear.lr(0), 1);
  EXPECT_EQ(linear.lr(1), 1.5);
  EXPECT_EQ(linear.lr(4), 3);
}

TEST(LrRange, SuggestsWhatAnotherImplementationDoes) {
  int cases = 0;
  const json all = golden();
  for (const json& example : all.at("cases")) {
    SCOPED_TRACE(example.at("name"));
    const RangeTest test = run(example);
    const std::vector<double> smoothed = example.at("smoothed");
    ASSERT_EQ(test.points().size(), smoothed.size());
    for (size_t i = 0; i < smoothed.size(); ++i) {
      EXPECT_NEAR(test.points()[i].smoothed, smoothed[i], 1e-12 * smoothed[i]);
    }
    const std::string end = example.at("end");
    EXPECT_EQ(test.end(), end == "whole"      ? RangeTest::End::kWhole
                          : end == "diverged" ? RangeTest::End::kDiverged
                                              : RangeTest::End::kNotFinite);
    EXPECT_EQ(test.kept().size(), example.at("kept").get<size_t>());
    for (const SuggestionKind kind : kSuggestionKinds) {
      const json& expected = example.at(word_of(kind));
      const Suggestion suggestion = suggest(kind, test);
      ASSERT_EQ(suggestion.lr.has_value(), !expected.is_null()) << suggestion.why_not;
      if (expected.is_null()) {
        EXPECT_THAT(suggestion.why_not, HasSubstr("slide needs 16 points"));
      } else {
        const double lr = expected;
        EXPECT_NEAR(*suggestion.lr, lr, 1e-12 * lr) << word_of(kind);
      }
    }
    ++cases;
  }
  EXPECT_EQ(cases, 10);
}

TEST(LrRange, FindsTheSamePlacesInAnyLosses) {
  const json all = golden();
  EXPECT_EQ(all.at("arrays").size(), 36U);
  for (const json& example : all.at("arrays")) {
    const std::vector<double> lrs = example.at("lrs"), losses = example.at("losses");
    SCOPED_TRACE(example.dump());
    EXPECT_EQ(lrs[valley(losses)], lrs[example.at("valley").get<size_t>()]);
    if (losses.size() > 1) {
      EXPECT_EQ(steepest(lrs, losses), example.at("steepest").get<size_t>());
    }
    const auto at = slide(losses);
    ASSERT_EQ(at.has_value(), !example.at("slide").is_null());
    if (at) {
      EXPECT_EQ(*at, example.at("slide").get<size_t>());
    }
  }
}

// Two losses that fall: a third of a run of two is nothing, and the place before the first is none.
TEST(LrRange, AValleyAtTheStartIsWithinTheRange) {
  EXPECT_EQ(valley(std::vector<double>{2, 1}), 0U);
  EXPECT_EQ(valley(std::vector<double>{5, 4, 3, 2, 1, 0}), 2U);
  EXPECT_EQ(valley(std::vector<double>{5, 5, 5, 5, 5, 5, 4}), 4U);  // equal losses do not fall
}

// fastai's valley as it is published: the longest falling run that ends at each point, from all the
// points before it.
size_t published_valley(const std::vector<double>& losses) {
  std::vector<int64_t> falling(losses.size(), 1);
  size_t end = 0;
  for (size_t i = 0; i < losses.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (losses[i] < losses[j]) falling[i] = std::max(falling[i], falling[j] + 1);
    }
    if (falling[i] > falling[end]) end = i;
  }
  if (end == 0) return 0;
  const double third = static_cast<double>(falling[end]) / 3;
  const int64_t index = static_cast<int64_t>(end) - falling[end] + static_cast<int64_t>(third) +
                        static_cast<int64_t>(third / 2);
  return static_cast<size_t>(std::max<int64_t>(index, 0));
}

// Few different losses, so that many are equal; many, so that none are; falling, level and rising.
TEST(LrRange, TheValleyIsThePublishedOne) {
  std::minstd_rand random(1);
  for (int trial = 0; trial < 3000; ++trial) {
    const size_t count = 1 + random() % 120;
    const auto different = static_cast<double>(trial % 2 == 0 ? 2 + random() % 30 : 1'000'000);
    const double trend = (trial % 3 - 1) * 0.02 * different;
    std::vector<double> losses(count);
    for (size_t i = 0; i < count; ++i) {
      const auto noise = static_cast<double>(random() % static_cast<uint64_t>(different));
      losses[i] = std::floor(noise + trend * static_cast<double>(i));
    }
    ASSERT_EQ(valley(losses), published_valley(losses)) << testing::PrintToString(losses);
  }
}

// Pair by pair it would take an hour, which no test may.
TEST(LrRange, TheValleyOfMillionsOfPoints) {
  std::vector<double> losses(3'000'000);
  for (size_t i = 0; i < losses.size(); ++i) losses[i] = -static_cast<double>(i);
  EXPECT_EQ(valley(losses), 1'500'000U - 1);  // one before the first, a third, half a third
}

TEST(LrRange, StopsWhereTheLossDiverges) {
  const auto jump = [](int64_t at) { return [at](int64_t step) { return step < at ? 1.0 : 1e4; }; };
  const RangeTest test = run(kRamp, jump(50));
  EXPECT_EQ(test.end(), RangeTest::End::kDiverged);
  EXPECT_EQ(test.points().size(), 51U);
  // Not before the points that are left out anyhow.
  const RangeTest early = run(kRamp, jump(1));
  EXPECT_EQ(early.end(), RangeTest::End::kDiverged);
  EXPECT_EQ(early.points().size(), 11U);
  EXPECT_THAT(why_none(early), AllOf(HasSubstr("diverged within 11 steps"), HasSubstr("--from")));
  // Of the smoothed loss, not of one batch's.
  const RangeTest outlier = run(kRamp, [](int64_t step) { return step == 60 ? 10.0 : 1.0; });
  EXPECT_EQ(outlier.points().size(), 100U);
}

TEST(LrRange, SaysWhyThereIsNoSuggestion) {
  EXPECT_THAT(why_none(run(kRamp, [](int64_t) { return kNan; })),
              HasSubstr("loss of the first step is not finite"));
  EXPECT_THAT(why_none(run(kRamp, [](int64_t s) { return s < 9 ? 1 : kNan; })),
              AllOf(HasSubstr("not finite from step 9 on"), HasSubstr("--from")));
  EXPECT_THAT(
      why_none(run({.from = 1e-5, .to = 10, .steps = 7}, [](int64_t s) { return 9.0 - s; })),
      AllOf(HasSubstr("7 steps were trained"), HasSubstr("--steps")));
  EXPECT_THAT(why_none(run(kRamp, [](int64_t) { return 2.5; })), HasSubstr("does not fall"));
  EXPECT_THAT(why_none(run(kRamp, [](int64_t s) { return 1 + 0.01 * static_cast<double>(s); })),
              AllOf(HasSubstr("it rises"), HasSubstr("--from")));
}

// The least of many smoothed losses always lies a little below the first.
TEST(LrRange, NoiseIsNoFall) {
  uint64_t state = 1;
  const auto noise = [&] {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<double>(state >> 40) / (1 << 23) - 1;
  };
  int suggested = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const RangeTest test = run(kRamp, [&](int64_t) { return 2.3 + 0.1 * noise(); });
    suggested += suggest(SuggestionKind::kValley, test).lr ? 1 : 0;
  }
  EXPECT_LE(suggested, 2);
  const RangeTest falls =
      run(kRamp, [&](int64_t s) { return 2.3 - 0.01 * static_cast<double>(s) + 0.1 * noise(); });
  EXPECT_TRUE(suggest(SuggestionKind::kValley, falls).lr);
}

TEST(LrRange, EverySuggestionLiesWithinTheRange) {
  const Ramp ramp = {.from = 0.5, .to = 2, .steps = 40};
  const RangeTest test =
      run(ramp, [](int64_t s) { return s < 12 ? 3.0 - 0.2 * s : 0.6 + 0.3 * s; });
  for (const SuggestionKind kind : kSuggestionKinds) {
    const Suggestion suggestion = suggest(kind, test);
    if (!suggestion.lr) continue;
    EXPECT_GE(*suggestion.lr, ramp.from) << word_of(kind);
    EXPECT_LE(*suggestion.lr, ramp.to) << word_of(kind);
  }
  EXPECT_EQ(suggest(SuggestionKind::kMinimum, test).lr, 0.5);
}

TEST(LrRange, EveryOptimizerHasARange) {
  for (const char* name :
       {"sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "lion", "lars", "lamb"}) {
    const Ramp ramp = usual_ramp(name);
    EXPECT_LT(0, ramp.from) << name;
    EXPECT_GE(ramp.to / ramp.from, 1e5) << name;
  }
  EXPECT_EQ(usual_ramp("sgd").to, 10);
  EXPECT_EQ(usual_ramp("adamw").from, 1e-7);
  EXPECT_EQ(usual_ramp("lars").to, 100);
}

AccuracyRange accuracy(const std::function<double(int64_t)>& top1, int64_t batch = 1000) {
  RangeTest test({.kind = RampKind::kLinear, .from = 0.001, .to = 0.201, .steps = 200});
  int64_t step = 0;
  while (test.add(1, top1(step))) ++step;
  return accuracy_range(test, batch);
}

TEST(AccuracyRange, IsFromTheRiseToTheFall) {
  // Windows of ten steps: at chance for 30, up to 90 %, ragged from 140 on.
  const auto curve = [](int64_t step) {
    if (step < 30) return 0.1;
    if (step < 110) return 0.1 + 0.01 * static_cast<double>(step - 30);
    if (step < 140) return 0.9;
    return step / 10 % 2 == 0 ? 0.7 : 0.85;
  };
  const AccuracyRange range = accuracy(curve);
  EXPECT_DOUBLE_EQ(range.low.lr.value(), 0.001 + 0.001 * 30);
  EXPECT_DOUBLE_EQ(range.high.lr.value(), 0.001 + 0.001 * 119);  // the best window's last step
  EXPECT_TRUE(range.falls);
}

TEST(AccuracyRange, EndsWithTheTestWhereNothingFalls) {
  const AccuracyRange range =
      accuracy([](int64_t step) { return 0.1 + 0.004 * static_cast<double>(step); });
  EXPECT_DOUBLE_EQ(range.low.lr.value(), 0.001 + 0.001 * 10);
  EXPECT_DOUBLE_EQ(range.high.lr.value(), 0.001 + 0.001 * 199);
  EXPECT_FALSE(range.falls);
}

TEST(AccuracyRange, WhatChanceExplainsIsNeitherARiseNorAFall) {
  const auto wobble = [](int64_t step) { return step / 10 % 2 == 0 ? 0.5 : 0.6; };
  EXPECT_FALSE(accuracy(wobble, 10).low.lr);  // 100 samples per window: 3 standard errors are 0.21
  EXPECT_THAT(accuracy(wobble, 10).low.why_not, HasSubstr("does not rise"));
  EXPECT_TRUE(accuracy(wobble, 1000).falls);
  // However many samples: what is below 0.02 does not matter.
  EXPECT_FALSE(
      accuracy([](int64_t step) { return step / 10 % 2 == 0 ? 0.5 : 0.515; }, 1000000).low.lr);
}

}  // namespace
}  // namespace largo::optim
