#include "trainer/rank_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <random>

#include "comm/base/error.h"
#include "comm/same_bits.h"
#include "comm/thread_communicator.h"

namespace largo {
namespace {

TEST(RankCheck, IsDueEarlyAndThenRegularly) {
  const RankCheck check(/*start=*/7, /*every=*/50);
  std::vector<int64_t> due;
  for (int64_t step = 7; step <= 160; ++step) {
    if (check.is_due(step)) due.push_back(step);
  }
  EXPECT_EQ(due, (std::vector<int64_t>{8, 9, 17, 50, 100, 150}));
  const RankCheck early_only(0, 0);
  EXPECT_TRUE(early_only.is_due(10));
  for (int64_t step = 11; step < 3000; ++step) EXPECT_FALSE(early_only.is_due(step));
}

TEST(RankCheck, KnowsWhatHasPassed) {
  RankCheck check(0, 50);
  EXPECT_FALSE(check.has_passed(50));
  EXPECT_EQ(check.since(), "");
  check.passed(50);
  EXPECT_TRUE(check.has_passed(50));
  EXPECT_FALSE(check.has_passed(51));
  EXPECT_EQ(check.since(), " (not yet after step 50)");
}

// Weights that all ranks change alike, until one bit of one rank flips at some step.
TEST(RankCheck, AFlippedBitIsFoundWithinTheInterval) {
  constexpr int64_t kEvery = 20, kRanks = 3, kSteps = 100;
  std::mt19937 random(3);
  int found = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const auto flipped_in = static_cast<int64_t>(random() % (kSteps - kEvery));
    const auto odd = static_cast<int>(random() % kRanks);
    const auto bit = random() % (64 * 32);
    std::atomic<int64_t> found_at = -1;
    std::string text;
    comm::spawn_ranks(kRanks, [&](comm::Communicator& world) {
      RankCheck check(0, kEvery);
      torch::Tensor weights = torch::arange(64, torch::kFloat) / 7;
      const torch::Tensor mask = torch::zeros({}, torch::kFloat);  // a "buffer" that stays equal
      try {
        for (int64_t step = 0; step < kSteps; ++step) {
          weights += 0.001f;
          if (step == flipped_in && world.rank() == odd) {
            static_cast<unsigned char*>(weights.data_ptr())[bit / 8] ^=
                static_cast<unsigned char>(1 << bit % 8);
          }
          if (!check.is_due(step + 1)) continue;
          comm::check_same_bits({{"fc.weight", weights}, {"bn.mean", mask}}, world,
                                concat("after step ", step + 1, check.since()));
          check.passed(step + 1);
        }
      } catch (const AgreedError& error) {
        if (world.rank() != 0) return;
        text = error.what();
        const size_t at = text.find("after step ");
        found_at = std::stoll(text.substr(at + 11));
      }
    });
    // A low bit may be rounded away by later updates on all ranks alike: then nothing is wrong.
    if (found_at < 0) continue;
    ++found;
    EXPECT_LE(found_at, flipped_in + kEvery);
    EXPECT_GT(found_at, flipped_in);
    EXPECT_THAT(text, testing::HasSubstr(concat("on rank ", odd, " (host ")));
  }
  EXPECT_GE(found, 15);
}

}  // namespace
}  // namespace largo
