#include "trainer/optim/scaling.h"

#include <gmock/gmock.h>

#include <cmath>

#include "trainer/optim/make_controller.h"

namespace largo::optim {
namespace {

using testing::AllOf;
using testing::DoubleEq;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

LrOptions at_256(ScalingRule rule) {
  LrOptions options;
  options.base = 0.1;
  options.base_batch = 256;
  options.scaling = rule;
  return options;
}

LrOptions legw(Duration warmup) {
  LrOptions options = at_256(ScalingRule::kLegw);
  options.warmup = {
      .kind = WarmupKind::kGradual, .length = warmup, .start = {WarmupStart::Kind::kZero, 0}};
  return options;
}

Duration epochs(double n) { return {n, Duration::Unit::kEpochs}; }
Duration steps(double n) { return {n, Duration::Unit::kSteps}; }

auto problem(const std::string& key, const std::string& words) {
  return AllOf(Field(&OptionProblem::key, key), Field(&OptionProblem::message, HasSubstr(words)));
}

TEST(Scaling, FactorsOfTheRules) {
  EXPECT_EQ(lr_factor(at_256(ScalingRule::kNone), 4096), 1);
  EXPECT_EQ(lr_factor(at_256(ScalingRule::kLinear), 4096), 16);
  EXPECT_EQ(lr_factor(at_256(ScalingRule::kSqrt), 4096), 4);
  EXPECT_EQ(lr_factor(at_256(ScalingRule::kLegw), 4096), 4);
  EXPECT_EQ(lr_factor(at_256(ScalingRule::kAdamSqrt), 4096), 4);
  EXPECT_EQ(lr_factor(at_256(ScalingRule::kAdaScale), 4096), 1);
  EXPECT_EQ(lr_factor(at_256(ScalingRule::kLegw), 64), 0.5);
}

TEST(Legw, WarmsUpKTimesTheEpochsWhichAreAsManySteps) {
  EXPECT_EQ(scaled_warmup(legw(epochs(0.5)), 4096), epochs(8));
  EXPECT_EQ(scaled_warmup(legw(epochs(1)), 64), epochs(0.25));
  EXPECT_EQ(scaled_warmup(legw({512, Duration::Unit::kSamples}), 4096),
            (Duration{8192, Duration::Unit::kSamples}));
  EXPECT_EQ(scaled_warmup(legw(steps(100)), 4096), steps(100));
  LrOptions sqrt = legw(epochs(1));
  sqrt.scaling = ScalingRule::kSqrt;
  EXPECT_EQ(scaled_warmup(sqrt, 4096), epochs(1));

  // 8192 samples an epoch.
  for (const int64_t batch : {64, 256, 1024, 4096}) {
    const LrSchedule schedule = make_schedule(
        legw(epochs(1)),
        {.global_batch = batch, .total_steps = 1000, .steps_of = [&](const Duration& d) {
           return d.amount * 8192 / static_cast<double>(batch);
         }});
    EXPECT_EQ(schedule.warmup_steps(), 32) << batch;
    EXPECT_EQ(schedule.lr(0), 0);
    EXPECT_DOUBLE_EQ(schedule.lr(32), 0.1 * std::sqrt(static_cast<double>(batch) / 256));
    EXPECT_DOUBLE_EQ(schedule.lr(8), schedule.peak() / 4);
  }
}

TEST(Legw, RefusesAnotherWarmup) {
  EXPECT_THAT(check_scaling(legw(epochs(1)), {}), IsEmpty());
  LrOptions options = legw(epochs(1));
  options.warmup.start.kind = WarmupStart::Kind::kBase;
  EXPECT_THAT(check_scaling(options, {}), ElementsAre(problem("lr.warmup.start", "start: zero")));
  options.warmup.kind = WarmupKind::kNone;
  EXPECT_THAT(check_scaling(options, {}), ElementsAre(problem("lr.scaling", "kind: gradual")));
}

TEST(AdamSqrt, ScalesAveragesAndEpsilonToo) {
  const LrOptions options = at_256(ScalingRule::kAdamSqrt);
  const OptimizerOptions adam = {.kind = "adamw", .weight_decay = 0.02};
  const OptimizerOptions scaled = scaled_for_batch(adam, options, 1024);
  EXPECT_THAT(scaled.betas, ElementsAre(DoubleEq(0.6), DoubleEq(0.996)));
  EXPECT_DOUBLE_EQ(*scaled.epsilon, 0.5e-8);
  EXPECT_EQ(scaled.weight_decay, 0.02);
  EXPECT_EQ(scaled_for_batch(adam, options, 256).betas, std::vector({0.9, 0.999}));
  EXPECT_THAT(scaled_for_batch(adam, options, 64).betas,
              ElementsAre(DoubleEq(0.975), DoubleEq(0.99975)));
  EXPECT_EQ(scaled_for_batch(adam, at_256(ScalingRule::kSqrt), 1024).betas, adam.betas);
  EXPECT_DOUBLE_EQ(scaled_for_batch({.kind = "rmsprop"}, options, 1024).alpha, 0.96);
  EXPECT_EQ(describe_scaled_optimizer(adam, options, 1024),
            "betas 0.9, 0.999 -> 0.6, 0.996, epsilon 1e-08 -> 5e-09");
  EXPECT_EQ(describe_scaled_optimizer({.kind = "rmsprop"}, options, 1024),
            "alpha 0.99 -> 0.96, epsilon 1e-08 -> 5e-09");
  EXPECT_EQ(describe_scaled_optimizer({}, at_256(ScalingRule::kLinear), 1024), "");
}

TEST(AdamSqrt, NamesTheLargestBatchWhereAnAverageWouldBeOfNothing) {
  const LrOptions options = at_256(ScalingRule::kAdamSqrt);
  const OptimizerOptions adam = {.kind = "adam"};
  EXPECT_THAT(check_scaling(options, adam, 2559), IsEmpty());
  EXPECT_GT(scaled_for_batch(adam, options, 2559).betas[0], 0);
  for (const int64_t batch : {2560, 8192}) {
    EXPECT_THAT(check_scaling(options, adam, batch),
                ElementsAre(problem("lr.scaling", "largest legal global batch is 2559")));
  }
  EXPECT_THAT(check_scaling(options, {.kind = "rmsprop"}, 25599), IsEmpty());
  EXPECT_THAT(check_scaling(options, {.kind = "rmsprop"}, 25600),
              ElementsAre(problem("lr.scaling", "alpha, 0.99")));
  EXPECT_THAT(check_scaling(options, {.kind = "adam", .betas = {0.9, 0.5}}, 512),
              ElementsAre(problem("lr.scaling", "the second of betas, 0.5")));
  EXPECT_THAT(check_scaling(at_256(ScalingRule::kSqrt), adam, 8192), IsEmpty());
  const OptimizerOptions without_average = {.kind = "adam", .betas = {0, 0.999}};
  EXPECT_THAT(check_scaling(options, without_average, 256), IsEmpty());  // nothing changes
  EXPECT_THAT(check_scaling(options, without_average, 257),
              ElementsAre(problem("lr.scaling", "largest legal global batch is 256")));
}

TEST(AdamSqrt, IsForTheOptimizersItWasDerivedFor) {
  const LrOptions options = at_256(ScalingRule::kAdamSqrt);
  for (const char* kind : {"adam", "adamw", "rmsprop"}) {
    EXPECT_THAT(check_scaling(options, {.kind = kind}), IsEmpty()) << kind;
  }
  for (const char* kind : {"sgd", "lamb", "lion"}) {
    EXPECT_THAT(check_scaling(options, {.kind = kind}), ElementsAre(problem("lr.scaling", kind)));
  }
  EXPECT_THAT(check_scaling(options, {.kind = "rmsprop", .momentum = 0.9}),
              ElementsAre(problem("lr.scaling", "momentum: 0")));
  EXPECT_THAT(check_scaling(options, {.kind = "rmsprop", .centered = true}),
              ElementsAre(problem("lr.scaling", "centered: false")));
  OptimizerOptions scheduled = {.kind = "adam"};
  scheduled.momentum_schedule.policy.kind = PolicyKind::kCosine;
  EXPECT_THAT(check_scaling(options, scheduled),
              ElementsAre(problem("lr.scaling", "momentum_schedule")));
}

TEST(AdaScale, NeedsSgdAndNoWarmupAndABatchThatIsNotSmaller) {
  LrOptions options = at_256(ScalingRule::kAdaScale);
  EXPECT_THAT(check(options), IsEmpty());
  EXPECT_THAT(check_scaling(options, {}), IsEmpty());
  EXPECT_THAT(check_scaling(options, {.kind = "adam"}), ElementsAre(problem("lr.scaling", "adam")));
  EXPECT_THAT(check_scaling(options, {.momentum_form = MomentumForm::kAbsorbed}),
              ElementsAre(problem("lr.scaling", "momentum_correction: true")));
  EXPECT_THAT(check_scaling(
                  options, {.momentum_form = MomentumForm::kAbsorbed, .momentum_correction = true}),
              IsEmpty());
  EXPECT_THAT(check_scaling(options, {}, 256), IsEmpty());
  EXPECT_THAT(check_scaling(options, {}, 255),
              ElementsAre(problem("lr.scaling", "at least lr.base_batch")));
  options.warmup = {.kind = WarmupKind::kGradual, .length = epochs(1), .start = {}};
  EXPECT_THAT(check_scaling(options, {}), ElementsAre(problem("lr.warmup.kind", "legal: none")));
  options.base_batch.reset();
  EXPECT_THAT(check(options), testing::Contains(problem("lr.base_batch", "adascale")));
}

TEST(AdaScale, ItsScheduleIsThatOfTheBaseBatch) {
  LrOptions options = at_256(ScalingRule::kAdaScale);
  options.policy.kind = PolicyKind::kCosine;
  const LrSchedule schedule =
      make_schedule(options, {.global_batch = 8192, .total_steps = 1001, .steps_of = {}});
  EXPECT_EQ(schedule.lr(0), 0.1);
  EXPECT_THAT(schedule.lr(500), DoubleNear(0.05, 1e-15));
  EXPECT_EQ(schedule.lr(1000), 0);
  EXPECT_THAT(schedule.describe(),
              HasSubstr("peak LR 0.1 × a gain of 1 to 32 (adascale, batch 8192 / 256), 32 to 1001 "
                        "steps; no warm-up; cosine"));
}

TEST(AdaScale, MakesItsController) {
  const LrOptions options = at_256(ScalingRule::kAdaScale);
  const ScheduleInputs run = {.global_batch = 8192, .total_steps = 1001, .steps_of = {}};
  const auto controller = make_controller(options, make_schedule(options, run), run);
  EXPECT_TRUE(controller->wants_gradient_sums());
}

TEST(Scaling, SchedulesSayTheRuleAndWhatItCameTo) {
  const ScheduleInputs inputs = {.global_batch = 4096,
                                 .total_steps = 100,
                                 .steps_of = [](const Duration& d) { return d.amount; }};
  EXPECT_THAT(make_schedule(at_256(ScalingRule::kAdamSqrt), inputs).describe(),
              HasSubstr("peak LR 0.4 = 0.1 × 4 (adam_sqrt, batch 4096 / 256)"));
  EXPECT_THAT(make_schedule(legw(epochs(1)), inputs).describe(),
              HasSubstr("peak LR 0.4 = 0.1 × 4 (legw, batch 4096 / 256); warm-up from 0 for 16 "
                        "steps (1ep × 16)"));
}

}  // namespace
}  // namespace largo::optim
