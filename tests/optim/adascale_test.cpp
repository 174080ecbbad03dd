#include "trainer/optim/adascale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "comm/base/error.h"

namespace largo::optim {
namespace {

using testing::HasSubstr;

// Falls in every step, so that a wrong clock shows.
LrSchedule falling() {
  LrOptions options;
  options.base = 0.5;
  options.scaling = ScalingRule::kNone;
  options.policy.kind = PolicyKind::kCosine;
  return make_schedule(options,
                       {.global_batch = 1, .total_steps = 100, .steps_of = [](const Duration& d) {
                          return static_cast<int64_t>(d.amount);
                        }});
}

AdaScaleController controller(int64_t base_steps, int64_t base_batch, int64_t global_batch) {
  return {falling(),
          {.base_steps = base_steps, .base_batch = base_batch, .global_batch = global_batch}};
}

// What `estimate` makes of it: |G|^2 and tr(Sigma) as given.
GradientSums sums_of(double mean_square, double variance, int64_t samples, int64_t parts) {
  const auto big = static_cast<double>(samples);
  const double of_mean = mean_square + variance / big;
  const double of_small = mean_square + variance * static_cast<double>(parts) / big;
  return {.squares = of_small * static_cast<double>(parts),
          .mean_square = of_mean,
          .samples = samples,
          .micro_batches = parts};
}

GradientSums random_sums(std::mt19937_64& engine, int64_t samples, int64_t parts) {
  std::uniform_real_distribution<double> draw(0.1, 2);
  return sums_of(draw(engine), 100 * draw(engine), samples, parts);
}

double gain(AdaScaleController& controller) { return controller.numbers().at(0).second; }

// Johnson et al., equations of section 3, by hand: S = 2, gradients (1, 2) and (3, -2).
TEST(AdaScale, WorkedByHand) {
  AdaScaleController lr = controller(100, 16, 32);
  const double at_start = falling().lr(0);
  EXPECT_DOUBLE_EQ(lr.lr(0), at_start) << "r_0 = 1";
  // sig2 = (5 + 13) / 1 - 2 / 1 * 4 = 10, mu2 = 4 - 10 / 2 < 0, which is clipped to 0.
  lr.observe_gradient(0, {.squares = 18, .mean_square = 4, .samples = 32, .micro_batches = 2});
  EXPECT_DOUBLE_EQ(gain(lr), 1);
  EXPECT_DOUBLE_EQ(lr.clock(1), 1);
  EXPECT_DOUBLE_EQ(lr.lr(1), 2 * falling().lr(1)) << "nothing but noise gains S";
  // Gradients (3, 0) and (1, 0): sig2 = 10 - 2 * 4 = 2, mu2 = 4 - 1 = 3. Plain means: 6 and 1.5.
  lr.observe_gradient(1, {.squares = 10, .mean_square = 4, .samples = 32, .micro_batches = 2});
  EXPECT_DOUBLE_EQ(gain(lr), 2);
  EXPECT_DOUBLE_EQ(lr.clock(2), 3);
  EXPECT_DOUBLE_EQ(lr.lr(2), 7.5 / 4.5 * falling().lr(3));
  // A fraction of a step counts, but the schedule is asked for whole ones.
  lr.observe_gradient(2, {.squares = 10, .mean_square = 4, .samples = 32, .micro_batches = 2});
  EXPECT_DOUBLE_EQ(lr.clock(3), 3 + 7.5 / 4.5);
  const double r = (14 / 3.0 + 2) / (7 / 3.0 + 2);
  EXPECT_DOUBLE_EQ(lr.lr(3), r * falling().lr(4));
}

TEST(AdaScale, GainAndNoiseScaleAreOneStatistic) {
  std::mt19937_64 engine(3);
  for (const int64_t base : {8, 32, 128}) {
    for (const int64_t parts : {2, 4, 16}) {
      // One step, so that the averages are equal.
      const GradientSums sums = random_sums(engine, 128, parts);
      NoiseScale noise;
      noise.add(sums);
      AdaScaleController lr = controller(1000, base, 128);
      lr.observe_gradient(0, sums);
      lr.observe_gradient(1, sums);
      const double s = 128.0 / static_cast<double>(base);
      const double b = noise.value().value() / static_cast<double>(base);
      EXPECT_NEAR(gain(lr), (1 + b) / (1 + b / s), 1e-13) << base << " " << parts;
      EXPECT_GE(gain(lr), 1);
      EXPECT_LE(gain(lr), s);
    }
  }
}

// fairscale/optim/adascale.py, with c gradients that are of S base batches together.
TEST(AdaScale, AgreesWithFairscaleWhereRanksAreNotBaseBatches) {
  std::mt19937_64 engine(4);
  std::uniform_real_distribution<double> draw(0.5, 2);
  for (const auto& [c, base] : std::vector<std::pair<int64_t, int64_t>>{{2, 8}, {4, 32}, {8, 8}}) {
    const double s = 128.0 / static_cast<double>(base), n = static_cast<double>(c);
    const double of_mean = draw(engine), squares = n * of_mean * 3;
    const double var = squares / n * s / (n - 1) - of_mean * s / (n - 1);
    const double sqr = of_mean - var / s;
    AdaScaleController lr = controller(1000, base, 128);
    const GradientSums sums = {
        .squares = squares, .mean_square = of_mean, .samples = 128, .micro_batches = c};
    lr.observe_gradient(0, sums);
    lr.observe_gradient(1, sums);
    const double clipped = std::max(sqr, 0.0);
    EXPECT_NEAR(gain(lr), (var + clipped) / (var / s + clipped), 1e-13) << c << " " << base;
  }
}

// Plain means of the past as long as they are shorter than 1 / (1 - theta), theta = 1 - S / 1000.
TEST(AdaScale, AveragesAsPublished) {
  const double s = 400;
  AdaScaleController lr = controller(100000, 1, 400);
  double variance = 0, mean_square = 0, want = 1;
  for (int64_t step = 0; step < 6; ++step) {
    const double v = 1 + 3.0 * static_cast<double>(step % 3), m = 0.5 + static_cast<double>(step);
    lr.observe_gradient(step, sums_of(m, v, 400, 4));
    EXPECT_NEAR(gain(lr), want, 1e-10 * want) << step;
    const double n = static_cast<double>(step + 1);
    const double theta = n < 1 / 0.4 ? 1 - 1 / n : 0.6;
    variance = theta * variance + (1 - theta) * v;
    mean_square = theta * mean_square + (1 - theta) * m;
    want = (variance + mean_square) / (variance / s + mean_square);
  }
  // From S = 1000 on, only the last step counts.
  AdaScaleController forgetful = controller(100000, 1, 2000);
  forgetful.observe_gradient(0, sums_of(7, 7, 2000, 4));
  forgetful.observe_gradient(1, sums_of(1, 3, 2000, 4));
  forgetful.observe_gradient(2, sums_of(1, 3, 2000, 4));
  EXPECT_NEAR(gain(forgetful), (3 + 1) / (3 / 2000.0 + 1), 1e-10);
}

TEST(AdaScale, ClipsBeforeAveraging) {
  AdaScaleController lr = controller(1000, 1, 2);
  lr.observe_gradient(0, sums_of(-1, 4, 2, 2));  // counts as 0
  lr.observe_gradient(1, sums_of(3, -8, 2, 2));  // counts as 1e-6
  lr.observe_gradient(2, sums_of(3, -8, 2, 2));
  const double variance = (4 + 1e-6) / 2;
  EXPECT_NEAR(gain(lr), (variance + 1.5) / (variance / 2 + 1.5), 1e-12);
}

TEST(AdaScale, TakesBetweenAnSthAndAllOfTheSteps) {
  const auto steps = [](double mean_square, double variance) {
    AdaScaleController lr = controller(100, 32, 256);
    int64_t step = 0;
    while (!lr.done(step)) {
      lr.observe_gradient(step++, sums_of(mean_square, variance, 256, 4));
      EXPECT_LE(step, 100);
    }
    return step;
  };
  const StepBounds bounds = adascale_bounds(100, 8);
  EXPECT_EQ(bounds.least, 13);
  EXPECT_EQ(bounds.most, 100);
  EXPECT_EQ(steps(1, 0), 100) << "no noise: more samples gain nothing (the least variance is 1e-6)";
  EXPECT_EQ(steps(0, 1), 1 + 13) << "nothing but noise: one step is lost on finding out";
  const int64_t between = steps(1, 64);
  EXPECT_GT(between, 14);
  EXPECT_LT(between, 100);
}

TEST(AdaScale, StepsWithoutAnEstimateKeepTheGain) {
  AdaScaleController lr = controller(1000, 8, 32);
  lr.observe_gradient(0, sums_of(1, 64, 32, 4));
  const double before = lr.lr(1) / falling().lr(1);
  GradientSums unequal = sums_of(1, 1, 32, 4);
  unequal.equal = false;
  lr.observe_gradient(1, unequal);
  GradientSums infinite = sums_of(1, 1, 32, 4);
  infinite.squares = std::numeric_limits<double>::infinity();
  lr.observe_gradient(2, infinite);
  EXPECT_NEAR(lr.clock(3), 1 + 2 * before, 1e-12);
  EXPECT_DOUBLE_EQ(lr.lr(3), before * falling().lr(std::floor(1 + 2 * before)));
}

TEST(AdaScale, ContinuesFromItsState) {
  std::mt19937_64 engine(5);
  AdaScaleController lr = controller(1000, 8, 32);
  for (int64_t step = 0; step < 10; ++step) {
    lr.observe_gradient(step, random_sums(engine, 32, 4));
  }
  AdaScaleController again = controller(1000, 8, 32);
  again.restore(lr.state());
  for (int64_t step = 10; step < 20; ++step) {
    EXPECT_EQ(lr.lr(step), again.lr(step));
    EXPECT_EQ(lr.clock(step), again.clock(step));
    // On other ranks the sums come from other micro-batches; here they cut the batch in two.
    const GradientSums sums = random_sums(engine, 32, 2);
    lr.observe_gradient(step, sums);
    again.observe_gradient(step, sums);
  }
  EXPECT_EQ(lr.state(), again.state());

  // Another batch finds its own gain of the same gradients.
  AdaScaleController larger = controller(1000, 8, 64);
  larger.restore(lr.state());
  EXPECT_EQ(larger.clock(20), lr.clock(20));
  EXPECT_GT(larger.lr(20), lr.lr(20));
}

std::string refusal(const std::string& state) {
  AdaScaleController lr = controller(1000, 8, 32);
  try {
    lr.restore(state);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    return error.what();
  }
  return "";
}

TEST(AdaScale, RefusesOtherStates) {
  EXPECT_THAT(refusal(""), HasSubstr("fixed schedule"));
  EXPECT_THAT(refusal("{"), HasSubstr("not AdaScale's"));
  EXPECT_THAT(refusal(R"({"kind":"plateau"})"), HasSubstr("its kind is \"plateau\""));
  EXPECT_THAT(refusal(controller(1000, 16, 32).state()),
              HasSubstr("lr.base_batch 16, here it is 8"));
  EXPECT_THAT(
      refusal(R"({"kind":"adascale","base_batch":8,"step":3,"tau":-1,"samples":0,"variance":0,)"
              R"("mean_square":0})"),
      HasSubstr("tau -1"));
}

}  // namespace
}  // namespace largo::optim
