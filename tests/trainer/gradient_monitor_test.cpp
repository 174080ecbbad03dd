#include "trainer/gradient_monitor.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <utility>
#include <vector>

namespace largo {
namespace {

using optim::GradientSums;

// Keeps what it is told.
class Listener final : public optim::LrController {
 public:
  double lr(int64_t) const override { return 0.1; }
  void observe(const optim::StepNumbers&) override {}
  void observe_gradient(int64_t step, const GradientSums& sums) override {
    heard.emplace_back(step, sums);
  }
  bool done(int64_t) const override { return false; }
  std::string state() const override { return {}; }
  void restore(std::string_view) override {}

  std::vector<std::pair<int64_t, GradientSums>> heard;
};

BatchPlan plan(int64_t global, int64_t world, int64_t micro, LastBatch last = LastBatch::kWrap) {
  return BatchPlan({.batch = {.global = global, .max_micro = micro},
                    .last_batch = last,
                    .length = {1000, Duration::Unit::kSteps},
                    .world = world,
                    .train_samples = 250});
}

torch::Tensor squares_at(int64_t step) { return torch::full({1}, 3.0F + static_cast<float>(step)); }
torch::Tensor norm_at(int64_t step) {
  return torch::full({}, 1 + 1e-9 * static_cast<double>(step), torch::kDouble);
}

TEST(GradientMonitor, HandsOverEveryStepOnceAndInOrder) {
  Listener listener;
  const BatchPlan of_run = plan(64, 2, 16);
  GradientMonitor monitor(of_run, listener);
  int64_t step = 7;  // a resumed run
  for (const int64_t more : {1, 0, 255, 256, 257, 1000}) {
    for (int64_t i = 0; i < more; ++i, ++step) monitor.add(step, squares_at(step), norm_at(step));
    monitor.collect();
    ASSERT_EQ(static_cast<int64_t>(listener.heard.size()), step - 7);
  }
  for (int64_t i = 7; i < step; ++i) {
    const auto& [heard_step, sums] = listener.heard[i - 7];
    EXPECT_EQ(heard_step, i);
    EXPECT_EQ(sums.squares, 3.0 + static_cast<double>(i));
    EXPECT_DOUBLE_EQ(sums.mean_square, (1 + 1e-9 * i) * (1 + 1e-9 * i)) << "doubles stay doubles";
    EXPECT_EQ(sums.samples, 64);
    EXPECT_EQ(sums.micro_batches, 4);
    EXPECT_TRUE(sums.equal);
  }
}

TEST(GradientMonitor, NoiseScaleDoesNotDependOnWhenItIsCollected) {
  Listener listener;
  const BatchPlan of_run = plan(64, 2, 16);
  GradientMonitor often(of_run, listener), once(of_run, listener), resumed(of_run, listener);
  for (int64_t step = 0; step < 40; ++step) {
    for (GradientMonitor* const monitor : {&often, &once}) {
      monitor->add(step, squares_at(step % 5) * 4, norm_at(step) * 1.6);
    }
    if (step % 3 == 0) often.collect();
    if (step < 20) continue;
    if (step == 20) {
      often.collect();
      resumed.restore(often.state());
    } else {
      resumed.add(step, squares_at(step % 5) * 4, norm_at(step) * 1.6);
    }
  }
  EXPECT_FALSE(once.noise_scale());
  for (GradientMonitor* const monitor : {&often, &once, &resumed}) monitor->collect();
  EXPECT_GT(often.noise_scale().value(), 0);
  EXPECT_EQ(often.noise_scale(), once.noise_scale());
  EXPECT_EQ(often.noise_scale(), resumed.noise_scale());
}

TEST(GradientMonitor, KnowsWhichStepsSayNothing) {
  const auto sums_of = [](const BatchPlan& of_run, int64_t step) {
    Listener listener;
    GradientMonitor monitor(of_run, listener);
    monitor.add(step, squares_at(step), norm_at(step));
    monitor.collect();
    return listener.heard.at(0).second;
  };
  EXPECT_FALSE(sums_of(plan(64, 3, 64), 0).equal) << "22 + 21 + 21";
  EXPECT_FALSE(sums_of(plan(64, 2, 12), 0).equal) << "32 in three parts";
  // 250 samples are three steps of 64 and one of 58, which four parts do not divide, or one of 50
  // after two of 100, which two parts do.
  const BatchPlan keeps = plan(64, 4, 64, LastBatch::kKeep);
  EXPECT_TRUE(sums_of(keeps, 2).equal);
  EXPECT_FALSE(sums_of(keeps, 3).equal);
  EXPECT_EQ(sums_of(keeps, 3).samples, 58);
  EXPECT_TRUE(sums_of(plan(100, 2, 64, LastBatch::kKeep), 2).equal);
  EXPECT_EQ(sums_of(plan(100, 2, 64, LastBatch::kKeep), 2).samples, 50);

  EXPECT_TRUE(shows_noise(plan(64, 2, 64)));
  EXPECT_TRUE(shows_noise(plan(64, 1, 16)));
  EXPECT_FALSE(shows_noise(plan(64, 1, 64)));
  EXPECT_FALSE(shows_noise(plan(64, 3, 64)));
}

}  // namespace
}  // namespace largo
