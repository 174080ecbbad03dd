// configs/annealing/: the eight curves of Nakamura et al. 2021, which differ in the policy only.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "trainer/config/config_print.h"
#include "trainer/config/load.h"
#include "trainer/optim/lr_schedule.h"

namespace largo::config {
namespace {

const std::string kFolder = LARGO_SOURCE_DIR "/configs/annealing/";

LoadedConfig load(const std::string& curve) {
  std::ostringstream bytes;
  bytes << std::ifstream(kFolder + curve + ".yaml", std::ios::binary).rdbuf();
  return load_config({"curve.yaml", bytes.str()}, {});
}

// Over the peak, with 1000 steps of training.
double at(const std::string& curve, double step) {
  const LoadedConfig config = load(curve);
  const optim::LrSchedule schedule = optim::make_schedule(
      config.values.lr,
      {.global_batch = 512, .total_steps = 1001, .steps_of = [](const Duration& d) {
         return d.unit == Duration::Unit::kEpochs ? d.amount * 50 : d.amount;
       }});
  return schedule.lr(step) / schedule.peak();
}

TEST(Annealing, TheEightCurvesHaveTheirShapes) {
  EXPECT_EQ(at("constant", 1000), 1);
  EXPECT_EQ(at("exponential", 0), 1);
  EXPECT_NEAR(at("exponential", 200), std::exp(-1), 1e-4);
  EXPECT_NEAR(at("exponential", 1000), std::exp(-5), 1e-6);
  for (const char* curve : {"step", "step_warmup"}) {
    EXPECT_EQ(at(curve, 499), 1);
    EXPECT_NEAR(at(curve, 500), 0.1, 1e-15);
    EXPECT_NEAR(at(curve, 750), 0.01, 1e-15);
  }
  EXPECT_NEAR(at("step_warmup", 0), 0.01, 1e-15);
  EXPECT_NEAR(at("step_warmup", 50), 0.505, 1e-12);
  EXPECT_NEAR(at("sigmoid", 0), 1, 1e-4);
  EXPECT_NEAR(at("sigmoid", 500), 0.5, 1e-15);
  EXPECT_NEAR(at("sigmoid", 1000), 0, 1e-4);
  EXPECT_NEAR(at("repeated_sigmoid", 250), 0.5, 1e-15);
  EXPECT_NEAR(at("repeated_sigmoid", 499.99), 0, 1e-4);
  EXPECT_NEAR(at("repeated_sigmoid", 500), 1, 1e-4);
  EXPECT_NEAR(at("repeated_sigmoid", 1000), 0, 1e-4);
  EXPECT_NEAR(at("trapezoid", 0), 0.1, 1e-15);
  EXPECT_EQ(at("trapezoid", 100), 1);
  EXPECT_EQ(at("trapezoid", 900), 1);
  EXPECT_NEAR(at("trapezoid", 950), 0.5, 1e-15);
  EXPECT_EQ(at("trapezoid", 1000), 0);
  EXPECT_NEAR(at("sigmoid_warmup", 0), 0.1, 1e-4);
  EXPECT_NEAR(at("sigmoid_warmup", 50), 0.55, 1e-12);
  EXPECT_NEAR(at("sigmoid_warmup", 550), 0.5, 1e-12);
}

TEST(Annealing, TheCurvesDifferInTheLearningRateOnly) {
  RunConfig constant = load("constant").values;
  int curves = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    RunConfig other = load(entry.path().stem().string()).values;
    other.lr = constant.lr;
    EXPECT_EQ(config_hash(other), config_hash(constant)) << entry.path();
    ++curves;
  }
  EXPECT_EQ(curves, 8);
}

}  // namespace
}  // namespace largo::config
