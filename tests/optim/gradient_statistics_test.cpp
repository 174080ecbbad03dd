#include "trainer/optim/gradient_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "comm/base/error.h"

namespace largo::optim {
namespace {

// Samples whose gradients are G + noise: |G|^2 and tr(Sigma) are known.
class NoisyGradients {
 public:
  static constexpr int kSize = 10;
  static constexpr double kMeanSquare = 0.01 * kSize * (kSize + 1) * (2 * kSize + 1) / 6;
  static constexpr double kVariance = 0.25 * kSize * (kSize + 1) / 2;

  GradientSums draw(int micro_batches, int64_t samples) {
    GradientSums sums = {.samples = samples, .micro_batches = micro_batches};
    const double of_one = std::sqrt(static_cast<double>(micro_batches) / samples);
    std::vector<double> mean(kSize);
    for (int m = 0; m < micro_batches; ++m) {
      for (int d = 0; d < kSize; ++d) {
        const double g = 0.1 * (d + 1) + 0.5 * std::sqrt(d + 1.0) * of_one * normal_(engine_);
        sums.squares += g * g;
        mean[d] += g / micro_batches;
      }
    }
    for (const double g : mean) sums.mean_square += g * g;
    return sums;
  }

 private:
  std::mt19937_64 engine_{7};
  std::normal_distribution<double> normal_;
};

TEST(GradientEstimates, AreThoseOfTheFormula) {
  // Two micro-batches of 4 samples with gradients (1, 2) and (3, -2): squares 5 and 13, mean (2,
  // 0).
  const auto found =
      estimate({.squares = 18, .mean_square = 4, .samples = 8, .micro_batches = 2}).value();
  EXPECT_DOUBLE_EQ(found.mean_square, (8 * 4 - 4 * 9) / (8 - 4.0));
  EXPECT_DOUBLE_EQ(found.variance, (9 - 4) / (1 / 4.0 - 1 / 8.0));
}

TEST(GradientEstimates, AreUnbiasedHoweverTheBatchIsCut) {
  for (const auto& [parts, samples] :
       std::vector<std::pair<int, int64_t>>{{2, 4}, {4, 4}, {2, 64}, {8, 64}}) {
    NoisyGradients gradients;
    constexpr int kDraws = 100000;
    double mean_square = 0, variance = 0, square_of_mean_square = 0, square_of_variance = 0;
    for (int draw = 0; draw < kDraws; ++draw) {
      const auto found = estimate(gradients.draw(parts, samples)).value();
      mean_square += found.mean_square / kDraws;
      variance += found.variance / kDraws;
      square_of_mean_square += found.mean_square * found.mean_square / kDraws;
      square_of_variance += found.variance * found.variance / kDraws;
    }
    // Within four standard errors of the truth, which are small against it.
    const double error_of_mean_square =
        4 * std::sqrt((square_of_mean_square - mean_square * mean_square) / kDraws);
    const double error_of_variance =
        4 * std::sqrt((square_of_variance - variance * variance) / kDraws);
    EXPECT_NEAR(mean_square, NoisyGradients::kMeanSquare, error_of_mean_square) << parts;
    EXPECT_NEAR(variance, NoisyGradients::kVariance, error_of_variance) << parts;
    EXPECT_LT(error_of_mean_square, 0.03 * NoisyGradients::kMeanSquare);
    EXPECT_LT(error_of_variance, 0.03 * NoisyGradients::kVariance);
  }
}

TEST(NoiseScale, FindsTheTruth) {
  NoisyGradients gradients;
  NoiseScale scale;
  EXPECT_FALSE(scale.value());
  double mean = 0;
  for (int step = 0; step < 20000; ++step) {
    scale.add(gradients.draw(4, 64));
    if (step >= 1000) mean += scale.value().value() / 19000;
  }
  const double truth = NoisyGradients::kVariance / NoisyGradients::kMeanSquare;
  EXPECT_NEAR(scale.value().value() / truth, 1, 0.2);  // of some 100 steps
  EXPECT_NEAR(mean / truth, 1, 0.02);
}

TEST(NoiseScale, IsARatioOfAverages) {
  NoiseScale scale;
  scale.add({.squares = 6, .mean_square = 2, .samples = 8, .micro_batches = 2});  // 1 and 8
  EXPECT_DOUBLE_EQ(scale.value().value(), 8.0);
  scale.add({.squares = 14, .mean_square = 5, .samples = 8, .micro_batches = 2});  // 3 and 16
  EXPECT_DOUBLE_EQ(scale.value().value(), (0.99 * 8 + 16) / (0.99 * 1 + 3));
}

TEST(NoiseScale, LeavesOutStepsThatSayNothing) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const GradientSums good = {.squares = 6, .mean_square = 2, .samples = 8, .micro_batches = 2};
  NoiseScale scale;
  for (GradientSums wrong : std::vector<GradientSums>{
           {.squares = inf, .mean_square = 2, .samples = 8, .micro_batches = 2},
           {.squares = 6, .mean_square = nan, .samples = 8, .micro_batches = 2},
           {.squares = 6, .mean_square = 2, .samples = 8, .micro_batches = 2, .equal = false},
           {.squares = 2, .mean_square = 2, .samples = 8, .micro_batches = 1}}) {
    EXPECT_FALSE(estimate(wrong));
    scale.add(wrong);
    EXPECT_FALSE(scale.value());
  }
  scale.add(good);
  scale.add({.squares = nan, .mean_square = nan, .samples = 8, .micro_batches = 2});
  EXPECT_DOUBLE_EQ(scale.value().value(), 8.0);
}

TEST(NoiseScale, ClampsOnlyAverages) {
  NoiseScale scale;
  scale.add({.squares = 20, .mean_square = 2, .samples = 8, .micro_batches = 2});  // -6 and 64
  EXPECT_FALSE(scale.value()) << "the noise hides the gradient";
  for (int i = 0; i < 3; ++i) {
    scale.add({.squares = 14, .mean_square = 5, .samples = 8, .micro_batches = 2});  // 3 and 16
  }
  const double first = 0.99 * 0.99 * 0.99, others = 0.99 * 0.99 + 0.99 + 1;
  EXPECT_NEAR(scale.value().value(), (64 * first + 16 * others) / (-6 * first + 3 * others), 1e-9);
  NoiseScale silent;
  silent.add({.squares = 2, .mean_square = 2, .samples = 8, .micro_batches = 2});  // 3 and -8
  EXPECT_EQ(silent.value().value(), 0);
  silent.add({.squares = 6, .mean_square = 2, .samples = 8, .micro_batches = 2});  // 1 and 8
  EXPECT_NEAR(silent.value().value(), (0.99 * -8 + 8) / (0.99 * 3 + 1), 1e-12);
}

TEST(NoiseScale, ContinuesFromItsState) {
  NoisyGradients gradients;
  NoiseScale scale, again;
  for (int step = 0; step < 50; ++step) scale.add(gradients.draw(4, 64));
  again.restore(scale.state());
  for (int step = 0; step < 50; ++step) {
    const GradientSums sums = gradients.draw(4, 64);
    scale.add(sums);
    again.add(sums);
    EXPECT_EQ(scale.value().value(), again.value().value());
  }
  for (const char* wrong : {"", "[]", "{}", R"({"steps":-1,"mean_square":1,"variance":1})",
                            R"({"steps":1,"mean_square":null,"variance":1})"}) {
    EXPECT_THROW(again.restore(wrong), Error) << wrong;
  }
  EXPECT_EQ(scale.value().value(), again.value().value()) << "a wrong state changes nothing";
}

}  // namespace
}  // namespace largo::optim
