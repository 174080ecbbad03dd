#include "trainer/optim/plateau.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "trainer/optim/make_controller.h"
#include "trainer/optim/scaling.h"

namespace largo::optim {
namespace {

using testing::AllOf;
using testing::DoubleEq;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

constexpr int64_t kEvery = 10;

Duration steps(double n) { return {n, Duration::Unit::kSteps}; }

ScheduleInputs run_of(int64_t total_steps, int64_t global_batch = 128) {
  return {.global_batch = global_batch,
          .total_steps = total_steps,
          .steps_of = [](const Duration& d) { return d.amount; }};
}

LrOptions plateau(PolicyKind kind) {
  LrOptions options;
  options.base = 0.1;
  options.base_batch = 128;
  options.policy.kind = kind;
  options.policy.plateau.every = steps(kEvery);
  return options;
}

std::unique_ptr<LrController> make(const LrOptions& options, const ScheduleInputs& run) {
  return make_controller(options, make_schedule(options, run), run);
}

// The LR after each of the metrics, one every kEvery steps from `step` on.
std::vector<double> lrs(LrController& controller, const std::vector<double>& metrics,
                        int64_t step = kEvery) {
  std::vector<double> values;
  for (const double metric : metrics) {
    EXPECT_TRUE(controller.wants_evaluation(step));
    controller.observe_evaluation({.step = step, .loss = metric, .top1 = metric});
    values.push_back(controller.lr(step));
    step += kEvery;
  }
  return values;
}

TEST(PlateauReduce, CountsMetricsThatAreNoBetterThanTheBest) {
  LrOptions options = plateau(PolicyKind::kPlateauReduce);
  options.policy.plateau.patience = 2;
  options.policy.plateau.threshold = 0.1;
  const auto controller = make(options, run_of(1000));
  EXPECT_EQ(controller->lr(0), 0.1);
  // 0.95 is not 10 % better than 1; after the third worse one the LR falls, and 0.8 counts anew.
  EXPECT_THAT(lrs(*controller, {1, 0.95, 0.95, 0.89, 0.85, 0.9, 0.81, 0.8, 0.8, 0.8, 0.8}),
              ElementsAre(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, DoubleEq(0.01), DoubleEq(0.01),
                          DoubleEq(0.01), DoubleEq(0.01), DoubleEq(0.001)));
}

// tests/golden/make_plateau.py
TEST(PlateauReduce, AgreesWithPyTorch) {
  const auto cases =
      nlohmann::json::parse(std::ifstream(LARGO_SOURCE_DIR "/tests/golden/plateau.json"));
  EXPECT_EQ(cases.size(), 8);
  for (const auto& golden : cases) {
    const auto& given = golden["options"];
    LrOptions options = plateau(PolicyKind::kPlateauReduce);
    PlateauOptions& rule = options.policy.plateau;
    rule.factor = given.value("factor", rule.factor);
    rule.patience = given.value("patience", rule.patience);
    rule.min_lr = given.value("min_lr", rule.min_lr);
    if (given.contains("threshold")) rule.threshold = given["threshold"];
    if (given.contains("cooldown")) rule.cooldown = given["cooldown"];
    if (given.contains("mode")) rule.metric = PlateauMetric::kValTop1;
    const auto controller = make(options, run_of(1000));
    EXPECT_EQ(lrs(*controller, golden["metrics"]), golden["lrs"].get<std::vector<double>>())
        << given;
  }
}

TEST(PlateauReduce, HasACooldownAndALowestLr) {
  LrOptions options = plateau(PolicyKind::kPlateauReduce);
  options.policy.plateau.patience = 0;
  options.policy.plateau.cooldown = 2;
  options.policy.plateau.factor = 0.5;
  options.policy.plateau.min_lr = 0.03;
  const auto controller = make(options, run_of(1000, 256));  // LRs × 2
  EXPECT_THAT(lrs(*controller, {1, 1, 1, 1, 1, 1, 1, 1}),
              ElementsAre(0.2, 0.1, 0.1, 0.1, 0.06, 0.06, 0.06, 0.06));
}

TEST(PlateauReduce, AccuraciesShouldRise) {
  LrOptions options = plateau(PolicyKind::kPlateauReduce);
  options.policy.plateau.patience = 0;
  options.policy.plateau.metric = PlateauMetric::kValTop1;
  const auto controller = make(options, run_of(1000));
  EXPECT_THAT(lrs(*controller, {0.5, 0.6, 0.60001, 0.7}),
              ElementsAre(0.1, 0.1, DoubleEq(0.01), DoubleEq(0.01)));
}

LrOptions change(int64_t first) {
  LrOptions options = plateau(PolicyKind::kPlateauChange);
  options.policy.plateau.first = first;
  for (const double base : {0.4, 0.2, 0.1}) {
    options.policy.plateau.levels.push_back({.until = {}, .base = base, .policy = {}});
  }
  options.base.reset();
  return options;
}

// Hand-worked: window 5, so that the sixth metric is the first that may decide; after a decision
// five are only noted.
TEST(PlateauChange, GoesUpEarlyAndDownLate) {
  const LrOptions options = change(1);
  EXPECT_THAT(check(options), testing::IsEmpty());
  const auto controller = make(options, run_of(200));
  // Step 60 of 200: up. Five of cooldown (70 … 110), at 120 it is at the top and stays.
  EXPECT_THAT(lrs(*controller, std::vector<double>(12, 1.0)),
              ElementsAre(0.2, 0.2, 0.2, 0.2, 0.2, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4));
  // 130 … 170: cooldown although nothing changed; 180 of 200 is not before 0.8: down.
  EXPECT_THAT(lrs(*controller, std::vector<double>(6, 1.0), 130),
              ElementsAre(0.4, 0.4, 0.4, 0.4, 0.4, 0.2));
}

TEST(PlateauChange, StaysAtTheEndsOfItsList) {
  LrOptions options = change(2);
  options.policy.plateau.up_before = 0;
  options.policy.plateau.cooldown = 0;
  EXPECT_THAT(lrs(*make(options, run_of(1000)), std::vector<double>(8, 1.0)), testing::Each(0.1));
  options.policy.plateau.first = 0;
  EXPECT_THAT(lrs(*make(options, run_of(1000)), std::vector<double>(9, 1.0)),
              ElementsAre(0.4, 0.4, 0.4, 0.4, 0.4, 0.2, 0.1, 0.1, 0.1));
}

TEST(PlateauChange, OneImprovementAmongTheLastIsEnoughToGoOn) {
  const auto controller = make(change(1), run_of(200));
  // The step from 1 to 0.95 leaves the last five metrics at the tenth: 0.95 … 0.95.
  EXPECT_THAT(lrs(*controller, {1, 1, 1, 1, 1, 0.94, 0.94, 0.94, 0.94, 0.94}),
              ElementsAre(0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.4));
  LrOptions accuracy = change(1);
  accuracy.policy.plateau.metric = PlateauMetric::kValTop1;
  const auto rising = make(accuracy, run_of(200));
  EXPECT_THAT(lrs(*rising, {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}),
              ElementsAre(0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2));
  const auto falling = make(accuracy, run_of(200));
  EXPECT_THAT(lrs(*falling, {0.7, 0.6, 0.5, 0.4, 0.3, 0.2}),
              ElementsAre(0.2, 0.2, 0.2, 0.2, 0.2, 0.4));
}

TEST(PlateauChange, ItsPoliciesAreOnTheClockOfTraining) {
  LrOptions options = change(1);
  for (PolicyPiece& level : options.policy.plateau.levels) {
    level.policy.kind = PolicyKind::kPolynomial;
  }
  const auto controller = make(options, run_of(201));
  EXPECT_DOUBLE_EQ(controller->lr(50), 0.15);
  lrs(*controller, std::vector<double>(6, 1.0));
  EXPECT_DOUBLE_EQ(controller->lr(60), 0.4 * 0.7);
  const std::vector<LrSchedule> levels = plateau_levels(options, run_of(201));
  ASSERT_EQ(levels.size(), 3);
  EXPECT_DOUBLE_EQ(levels[2].lr(100), 0.05);
  EXPECT_EQ(controller->lr(100), levels[0].lr(100));
}

TEST(Plateau, NothingIsDecidedDuringTheWarmupNorByOtherEvaluations) {
  LrOptions options = plateau(PolicyKind::kPlateauReduce);
  options.policy.plateau.patience = 0;
  options.warmup = {
      .kind = WarmupKind::kGradual, .length = steps(20), .start = {WarmupStart::Kind::kZero, 0}};
  const auto controller = make(options, run_of(1000));
  EXPECT_EQ(controller->lr(10), 0.05);
  for (const int64_t step : {0, 5, 10, 15, 25}) {
    EXPECT_FALSE(controller->wants_evaluation(step));
    controller->observe_evaluation({.step = step, .loss = 1, .top1 = 1});
  }
  EXPECT_THAT(lrs(*controller, {2, 1.5}, 20), ElementsAre(0.1, 0.1));
  controller->observe_evaluation({.step = 30, .loss = 9, .top1 = 1});  // once more after a resume
  EXPECT_EQ(controller->lr(30), 0.1);
  EXPECT_FALSE(controller->wants_losses(30, true));
  EXPECT_FALSE(controller->done(999));
  EXPECT_TRUE(controller->done(1000));
}

TEST(Plateau, TheTrainingLossIsTheMeanOfAllStepsSinceTheLastLook) {
  LrOptions options = plateau(PolicyKind::kPlateauReduce);
  options.policy.plateau.patience = 0;
  options.policy.plateau.threshold = 0;
  options.policy.plateau.metric = PlateauMetric::kTrainLoss;
  const auto controller = make(options, run_of(1000));
  EXPECT_FALSE(controller->wants_evaluation(10));
  EXPECT_TRUE(controller->wants_losses(10, false));
  EXPECT_TRUE(controller->wants_losses(7, true));
  EXPECT_FALSE(controller->wants_losses(7, false));
  const auto observe = [&](int64_t step, double loss, int64_t samples) {
    controller->observe({.step = step,
                         .loss_sum = loss * static_cast<double>(samples),
                         .grad_norm = 1,
                         .samples = samples});
    return controller->lr(step);
  };
  EXPECT_EQ(observe(10, 1, 100), 0.1);
  EXPECT_EQ(observe(13, 5, 30), 0.1);
  EXPECT_DOUBLE_EQ(observe(20, 0, 70), 0.01);  // a mean of 1.5: worse
  EXPECT_DOUBLE_EQ(observe(30, 0.5, 100), 0.01);
}

TEST(Plateau, AMetricThatIsNotFiniteStopsTraining) {
  for (const PolicyKind kind : {PolicyKind::kPlateauReduce, PolicyKind::kPlateauChange}) {
    LrOptions options = kind == PolicyKind::kPlateauChange ? change(1) : plateau(kind);
    for (const double wrong :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      const auto controller = make(options, run_of(1000));
      try {
        controller->observe_evaluation({.step = kEvery, .loss = wrong, .top1 = 0});
        ADD_FAILURE() << wrong << " passes";
      } catch (const AgreedError& error) {
        EXPECT_EQ(error.code(), ExitCode::kNumerical);
        EXPECT_THAT(error.what(), HasSubstr("at step 10 the val_loss is"));
      }
    }
  }
}

TEST(Plateau, ARestoredControllerGoesOnAsTheOneThatWasSaved) {
  // Numbers whose digits do not end, so that a state with too few of them shows.
  const auto metric = [](int64_t i) { return 1 + 0.1 / 3 * static_cast<double>(i * 7 % 5); };
  for (const bool changes : {false, true}) {
    for (const PlateauMetric of : {PlateauMetric::kValLoss, PlateauMetric::kTrainLoss}) {
      LrOptions options = changes ? change(1) : plateau(PolicyKind::kPlateauReduce);
      options.policy.plateau.metric = of;
      options.policy.plateau.patience = 1;
      options.policy.plateau.cooldown = 1;
      options.policy.plateau.factor = 0.7;
      const auto feed = [&](LrController& controller, int64_t i) {
        const int64_t step = i * kEvery / 2;  // every second one is a look
        controller.observe({.step = step, .loss_sum = metric(i), .grad_norm = 1, .samples = 3 + i});
        controller.observe_evaluation({.step = step, .loss = metric(i), .top1 = metric(i)});
        return controller.lr(step);
      };
      constexpr int64_t kCount = 60;
      for (int64_t saved = 0; saved < kCount; ++saved) {
        const auto whole = make(options, run_of(1000));
        for (int64_t i = 1; i <= saved; ++i) feed(*whole, i);
        const auto resumed = make(options, run_of(1000));
        resumed->restore(whole->state());
        EXPECT_EQ(resumed->state(), whole->state());
        for (int64_t i = saved + 1; i <= kCount; ++i) {
          ASSERT_EQ(feed(*resumed, i), feed(*whole, i)) << saved << ' ' << i;
        }
        EXPECT_EQ(resumed->state(), whole->state());
      }
    }
  }
}

TEST(Plateau, RefusesAStateOfAnotherPolicy) {
  const auto reduce = make(plateau(PolicyKind::kPlateauReduce), run_of(1000));
  const auto other = make(change(2), run_of(1000));
  for (const std::string& state : {std::string(), other->state(), std::string("{"),
                                   std::string(R"({"kind":"plateau_reduce"})")}) {
    try {
      reduce->restore(state);
      ADD_FAILURE() << state;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData);
    }
  }
  EXPECT_THROW(other->restore(R"({"kind":"plateau_change","rule":{"level":3,"metrics":[],)"
                              R"("cooldown":0},"observed":0,"loss_sum":0,"samples":0})"),
               Error);
}

TEST(Plateau, OptionsThatDoNotFitAreRefused) {
  const auto problem = [](const std::string& key, const std::string& words) {
    return AllOf(Field(&OptionProblem::key, key), Field(&OptionProblem::message, HasSubstr(words)));
  };
  LrOptions options = change(3);
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.first", "legal: 0 to 2")));
  options = change(0);
  std::swap(options.policy.plateau.levels[0], options.policy.plateau.levels[1]);
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.levels.1", "0.4, above the 0.2")));
  options.policy.plateau.levels.resize(1);
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.levels", "two levels")));
  options = change(0);
  options.scaling = ScalingRule::kAdaScale;
  EXPECT_THAT(check_scaling(options, {}),
              ElementsAre(problem("lr.policy.kind", "goes without adascale")));
  OptionTable table;
  PolicyOptions momentum;
  declare_policy(table, "optimizer.momentum_schedule", momentum);
  EXPECT_NE(table.find("optimizer.momentum_schedule.kind")->set({.scalar = "plateau_reduce"}),
            std::nullopt);
}

}  // namespace
}  // namespace largo::optim
