#include "trainer/optim/lr_schedule.h"

#include <gmock/gmock.h>

#include <cmath>

#include "comm/base/error.h"
#include "tests/optim/schedule_options.h"
#include "trainer/optim/make_controller.h"

namespace largo::optim {
namespace {

using testing::HasSubstr;

TEST(LrSchedule, ScalesByTheRule) {
  LrOptions options = linear();
  EXPECT_DOUBLE_EQ(make_schedule(options, inputs(2048, 10)).peak(), 1.6);
  EXPECT_EQ(make_schedule(options, inputs(2048, 10)).factor(), 16);
  EXPECT_EQ(make_schedule(options, inputs(64, 10)).factor(), 0.5);
  options.scaling = ScalingRule::kSqrt;
  EXPECT_EQ(make_schedule(options, inputs(2048, 10)).factor(), 4);
  options.scaling = ScalingRule::kNone;
  options.base_batch.reset();
  EXPECT_EQ(make_schedule(options, inputs(2048, 10)).factor(), 1);
  EXPECT_EQ(make_schedule(options, inputs(2048, 10)).lr(3), 0.1);
}

TEST(LrSchedule, WarmupFromTheUnscaledBaseReachesThePeakExactlyAtItsEnd) {
  const LrSchedule schedule = make_schedule(with_warmup(kBase, 40), inputs(1024, 100));
  EXPECT_EQ(schedule.lr(0), 0.1);  // not 0.8: the base is not scaled
  EXPECT_DOUBLE_EQ(schedule.lr(20), 0.45);
  EXPECT_LT(schedule.lr(39), 0.8);
  EXPECT_EQ(schedule.lr(40), schedule.peak());
  EXPECT_EQ(schedule.lr(99), schedule.peak());
  EXPECT_EQ(schedule.warmup_steps(), 40);
}

TEST(LrSchedule, WarmupStartsAtZeroOrAtAScaledNumber) {
  EXPECT_EQ(make_schedule(with_warmup(kZero, 40), inputs(1024, 100)).lr(0), 0);
  EXPECT_DOUBLE_EQ(make_schedule(with_warmup(kZero, 40), inputs(1024, 100)).lr(10), 0.2);
  const WarmupStart number = {WarmupStart::Kind::kNumber, 0.05};
  EXPECT_DOUBLE_EQ(make_schedule(with_warmup(number, 40), inputs(1024, 100)).lr(0), 0.05 * 8);
}

TEST(LrSchedule, ConstantWarmupHoldsItsStart) {
  LrOptions options = with_warmup(kBase, 40);
  options.warmup.kind = WarmupKind::kConstant;
  const LrSchedule schedule = make_schedule(options, inputs(1024, 100));
  EXPECT_EQ(schedule.lr(0), 0.1);
  EXPECT_EQ(schedule.lr(39), 0.1);
  EXPECT_EQ(schedule.lr(40), schedule.peak());
}

TEST(LrSchedule, NoWarmupFromTheBaseWhereThePeakIsNotAboveIt) {
  for (const int64_t batch : {64, 128}) {
    LrOptions options = with_warmup(kBase, 40);
    options.policy.kind = PolicyKind::kCosine;
    const LrSchedule schedule = make_schedule(options, inputs(batch, 100));
    EXPECT_EQ(schedule.lr(0), schedule.peak()) << batch;
    EXPECT_EQ(schedule.warmup_steps(), 0);
    EXPECT_EQ(schedule.lr(99), 0);  // the cosine has all of the steps
    EXPECT_THAT(schedule.describe(), HasSubstr("no warm-up"));
    EXPECT_THAT(schedule.describe(), HasSubstr("base LR 0.1"));
  }
  const LrSchedule from_zero = make_schedule(with_warmup(kZero, 40), inputs(128, 100));
  EXPECT_EQ(from_zero.lr(0), 0);
  EXPECT_EQ(from_zero.warmup_steps(), 40);
}

TEST(LrSchedule, MilestonesCountFromTheStartOfTraining) {
  LrOptions options = with_warmup(kBase, 20);
  options.policy.kind = PolicyKind::kMultistep;
  options.policy.milestones = {{3, Duration::Unit::kEpochs}, steps(60)};
  LrSchedule schedule = make_schedule(options, inputs(1024, 100));
  EXPECT_EQ(schedule.lr(29), schedule.peak());
  EXPECT_DOUBLE_EQ(schedule.lr(30), schedule.peak() * 0.1);
  EXPECT_DOUBLE_EQ(schedule.lr(60), schedule.peak() * 0.01);

  options.policy_clock = PolicyClock::kAfterWarmup;
  schedule = make_schedule(options, inputs(1024, 100));
  EXPECT_EQ(schedule.lr(49), schedule.peak());
  EXPECT_DOUBLE_EQ(schedule.lr(50), schedule.peak() * 0.1);
}

TEST(LrSchedule, ClockOfEachPolicyUnlessSaid) {
  const auto at_end_of_warmup = [](PolicyKind kind, PolicyClock clock) {
    LrOptions options = with_warmup(kZero, 20);
    options.policy.kind = kind;
    options.policy.length = steps(10);
    options.policy_clock = clock;
    const LrSchedule schedule = make_schedule(options, inputs(128, 100));
    return schedule.lr(20) / schedule.peak();
  };
  using enum PolicyClock;
  EXPECT_DOUBLE_EQ(at_end_of_warmup(PolicyKind::kStep, kByPolicy), 0.01);
  EXPECT_EQ(at_end_of_warmup(PolicyKind::kStep, kAfterWarmup), 1);
  for (const PolicyKind kind :
       {PolicyKind::kExponential, PolicyKind::kPolynomial, PolicyKind::kCosine}) {
    EXPECT_EQ(at_end_of_warmup(kind, kByPolicy), 1);
    EXPECT_LT(at_end_of_warmup(kind, kGlobal), 0.1);
  }
}

TEST(LrSchedule, AnOmittedLengthEndsAtTheLastUpdate) {
  for (const PolicyKind kind : {PolicyKind::kPolynomial, PolicyKind::kCosine}) {
    for (const PolicyClock clock : {PolicyClock::kGlobal, PolicyClock::kAfterWarmup}) {
      LrOptions options = with_warmup(kZero, 20);
      options.policy.kind = kind;
      options.policy.end = 0.01;
      options.policy_clock = clock;
      const LrSchedule schedule = make_schedule(options, inputs(1024, 100));
      EXPECT_DOUBLE_EQ(schedule.lr(99), 0.08);  // the end is scaled too
      EXPECT_GT(schedule.lr(98), 0.08);
    }
  }
  LrOptions options = linear();
  options.policy.kind = PolicyKind::kExponential;
  options.policy.gamma = 0.001;
  EXPECT_DOUBLE_EQ(make_schedule(options, inputs(128, 100)).lr(99), 0.1 * 0.001);
}

TEST(LrSchedule, AGivenLengthHoldsTheEndAfterwards) {
  LrOptions options = with_warmup(kZero, 20);
  options.policy.kind = PolicyKind::kCosine;
  options.policy.length = steps(30);
  const LrSchedule schedule = make_schedule(options, inputs(1024, 100));
  EXPECT_GT(schedule.lr(49), 0);
  EXPECT_EQ(schedule.lr(50), 0);
  EXPECT_EQ(schedule.lr(99), 0);
}

TEST(LrSchedule, WarmupMayOutlastTheRunAndTheRunMayBeEmpty) {
  LrOptions options = with_warmup(kZero, 200);
  options.policy.kind = PolicyKind::kCosine;
  const LrSchedule longer = make_schedule(options, inputs(1024, 100));
  EXPECT_DOUBLE_EQ(longer.lr(99), longer.peak() * 99 / 200);
  EXPECT_EQ(longer.lr(200), longer.peak());  // nothing is left for the cosine: held
  EXPECT_EQ(make_schedule(options, inputs(1024, 0)).lr(0), 0);

  options.warmup.kind = WarmupKind::kNone;
  for (const int64_t total : {0, 1}) {
    const LrSchedule schedule = make_schedule(options, inputs(1024, total));
    EXPECT_EQ(schedule.lr(0), schedule.peak()) << total;
  }
}

TEST(LrSchedule, OneCycleWithoutALengthEndsAtTheLastUpdate) {
  const LrSchedule fastai = make_schedule(of_kind(PolicyKind::kOneCycle), inputs(256, 101));
  EXPECT_DOUBLE_EQ(fastai.lr(0), 0.2 / 25);
  EXPECT_DOUBLE_EQ(fastai.lr(25), 0.2);
  EXPECT_DOUBLE_EQ(fastai.lr(100), 0.2 / 1e5);
  const LrSchedule torch = make_schedule(of_kind(PolicyKind::kOneCycleTorch), inputs(256, 100));
  EXPECT_DOUBLE_EQ(torch.lr(29), 0.2);  // 0.3 * 100 - 1
  EXPECT_DOUBLE_EQ(torch.lr(99), 0.2 / 25 / 1e4);
  EXPECT_GT(torch.lr(98), torch.lr(99));
}

TEST(LrSchedule, PartsThatAreOmittedHaveTheRestOfTraining) {
  LrOptions options = of_kind(PolicyKind::kTrapezoid);
  options.policy.up = steps(10);
  options.policy.down = steps(20);
  options.policy.end = 0.01;
  LrSchedule schedule = make_schedule(options, inputs(256, 101));
  EXPECT_EQ(schedule.lr(0), 0);
  EXPECT_EQ(schedule.lr(10), 0.2);
  EXPECT_EQ(schedule.lr(80), 0.2);
  EXPECT_LT(schedule.lr(81), 0.2);
  EXPECT_DOUBLE_EQ(schedule.lr(100), 0.02);
  options.policy.cycles = 4;
  EXPECT_THROW(make_schedule(options, inputs(256, 101)), OptionError);

  options = of_kind(PolicyKind::kWarmupStableDecay);
  options.policy.decay = steps(20);
  schedule = make_schedule(options, inputs(256, 101));
  EXPECT_EQ(schedule.lr(80), 0.2);
  EXPECT_DOUBLE_EQ(schedule.lr(90), 0.1);
  EXPECT_EQ(schedule.lr(100), 0);
  options.policy.decay.reset();
  options.policy.stable = steps(50);
  schedule = make_schedule(options, inputs(256, 101));
  EXPECT_EQ(schedule.lr(50), 0.2);
  EXPECT_DOUBLE_EQ(schedule.lr(75), 0.1);
}

TEST(LrSchedule, InverseSqrtTakesTheWarmupForItsTimescale) {
  LrOptions options = with_warmup(kZero, 20);
  options.policy.kind = PolicyKind::kInverseSqrt;
  const LrSchedule schedule = make_schedule(options, inputs(256, 100));
  EXPECT_EQ(schedule.lr(20), 0.2);
  EXPECT_DOUBLE_EQ(schedule.lr(80), 0.1);
  // As it is given, where there is nothing to warm up to.
  options.warmup.start = kBase;
  const LrSchedule unscaled = make_schedule(options, inputs(128, 100));
  EXPECT_EQ(unscaled.warmup_steps(), 0);
  EXPECT_EQ(unscaled.lr(0), 0.1);
  EXPECT_DOUBLE_EQ(unscaled.lr(60), 0.05);
}

TEST(LrSchedule, AWarmupLeadsToTheFootOfASigmoidThatRises) {
  LrOptions options = with_warmup(kZero, 20);
  options.policy.kind = PolicyKind::kSigmoid;
  options.policy.gamma = 0.5;
  options.policy.gamma_per = steps(1);
  options.policy.length = steps(16);
  const LrSchedule schedule = make_schedule(options, inputs(256, 100));
  const double foot = schedule.lr(20);
  EXPECT_NEAR(foot, 0.2 / (1 + std::exp(8)), 1e-12);
  EXPECT_DOUBLE_EQ(schedule.lr(10), foot / 2);
}

TEST(LrSchedule, AWarmupLeadsToWhereAPolicyWithARiseOfItsOwnStarts) {
  LrOptions options = with_warmup(kZero, 20);
  options.policy.kind = PolicyKind::kTriangular;
  options.policy.k0 = 0.1;
  options.policy.k1 = 0.5;
  options.policy.length = steps(10);
  const LrSchedule schedule = make_schedule(options, inputs(256, 100));
  EXPECT_DOUBLE_EQ(schedule.peak(), 1.0);
  EXPECT_DOUBLE_EQ(schedule.lr(10), 0.1);
  EXPECT_DOUBLE_EQ(schedule.lr(20), 0.2);
  EXPECT_DOUBLE_EQ(schedule.lr(30), 1.0);
  options.warmup.start = kBase;  // unscaled
  EXPECT_DOUBLE_EQ(make_schedule(options, inputs(256, 100)).lr(0), 0.1);
  EXPECT_THAT(make_schedule(options, inputs(256, 100)).describe(),
              HasSubstr("peak LR 1 = 0.5 × 2 (linear, batch 256 / 128); warm-up from 0.1 for 20 "
                        "steps; triangular between 0.2 and 1, l = 10 steps after it"));
}

TEST(LrSchedule, GammaCountsInItsOwnUnit) {
  LrOptions options = of_kind(PolicyKind::kInverse);
  options.policy.gamma = 1;
  options.policy.gamma_per = {2, Duration::Unit::kEpochs};
  EXPECT_DOUBLE_EQ(make_schedule(options, inputs(128, 100)).lr(20), 0.05);
}

TEST(ScheduleController, FollowsTheScheduleUntilTheLastStep) {
  const LrOptions options = with_warmup(kZero, 20);
  const ScheduleInputs run = inputs(1024, 100);
  const auto made = make_controller(options, make_schedule(options, run), run);
  LrController& controller = *made;
  EXPECT_DOUBLE_EQ(controller.lr(10), 0.4);
  controller.observe({.step = 11, .loss_sum = 1, .grad_norm = 1});
  controller.observe_evaluation({.step = 11, .loss = 1, .top1 = 0.5});
  EXPECT_FALSE(controller.wants_evaluation(11) || controller.wants_losses(11, true) ||
               controller.wants_gradient_sums());
  EXPECT_EQ(controller.clock(11), 11);
  EXPECT_DOUBLE_EQ(controller.lr(10), 0.4);
  EXPECT_FALSE(controller.done(99));
  EXPECT_TRUE(controller.done(100));
  EXPECT_EQ(controller.state(), "");
  EXPECT_NO_THROW(controller.restore(""));
  EXPECT_THROW(controller.restore("{}"), Error);
}

}  // namespace
}  // namespace largo::optim
