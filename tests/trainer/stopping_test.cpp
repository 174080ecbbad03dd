#include "trainer/stopping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/error.h"

namespace largo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Stopping, ASignalIsAWishOfItsRank) {
  int signal = 0;
  Stopping stopping([&] { return signal; }, std::nullopt, 3, 0);
  EXPECT_EQ(stopping.wishes(1), 0U);
  signal = SIGUSR1;
  EXPECT_EQ(stopping.wishes(2), kStopSignal);
  EXPECT_TRUE(Stopping::is_agreed(kStopSignal));
  EXPECT_TRUE(Stopping::is_agreed(kStopForTime | kSaveNow));
  EXPECT_FALSE(Stopping::is_agreed(kSaveNow));
}

// The first step after which three steps and two saves would no longer fit in: one more before the
// wish, and two until it is agreed on.
TEST(Stopping, RankZeroStopsInTimeForTheDeadline) {
  const auto first_wish = [](int rank, double seconds_per_step, std::optional<double> save) {
    Stopping stopping({}, Deadline{100, "a limit"}, rank, 0);
    if (save) stopping.saved_in(*save);
    for (double now = seconds_per_step; now < 200; now += seconds_per_step) {
      if (stopping.wishes(now) == kStopForTime) return now;
    }
    return 0.0;
  };
  EXPECT_EQ(first_wish(0, 1, 0.5), 96);   // 96 + 3 x 1 + 2 x 0.5
  EXPECT_EQ(first_wish(0, 5, 20), 45);    // 45 + 3 x 5 + 2 x 20
  EXPECT_EQ(first_wish(0, 1, {}), 77);    // a tenth of the limit where no save has been seen
  EXPECT_EQ(first_wish(0, 60, 0.5), 60);  // the first step says that a second has no place
  EXPECT_EQ(first_wish(1, 1, 0.5), 0);    // not its to watch
}

// Whatever the steps, evaluations and saves take, as long as none takes longer than one before it,
// the stop that is wished for ends in time, and not earlier than it must.
TEST(Stopping, TheStopEndsBeforeTheDeadline) {
  for (const int64_t every : {1, 2, 3, 4, 7, 1000}) {
    for (const double evaluation_s : {0.0, 0.5, 6.0}) {
      for (const double save_s : {0.125, 4.0}) {
        Stopping stopping({}, Deadline{1000, "a limit"}, 0, 0);
        stopping.saved_in(save_s);
        stopping.evaluated_in(evaluation_s);
        const auto follows = [every](int64_t step) { return step % every == 0; };
        double now = evaluation_s;
        int64_t step = 0;
        int64_t left = -1;  // steps until all agree
        while (left != 0) {
          now += 0.75;
          ++step;
          const bool wishes = stopping.wishes(now, evaluations_before_stop(step, follows)) != 0;
          if (left > 0) {
            --left;
          } else if (wishes) {
            left = kStepsUntilAgreed;
          }
          if (!follows(step)) continue;
          now += evaluation_s;
          stopping.evaluated_in(evaluation_s);
        }
        now += 2 * save_s;
        EXPECT_LE(now, 1000) << every << ' ' << evaluation_s << ' ' << save_s;
        EXPECT_GE(now, 1000 - 2 * 0.75 - 2 * evaluation_s) << every << ' ' << evaluation_s;
      }
    }
  }
}

// Of the first ones only they themselves are known.
TEST(Stopping, TheFirstStepsStandForOthers) {
  Stopping stopping({}, Deadline{190, "a limit"}, 0, 0);
  stopping.saved_in(5);
  EXPECT_EQ(stopping.wishes(30), 0U);
  EXPECT_EQ(stopping.margin_s(), 3 * 30 + 2 * 5);
  EXPECT_EQ(stopping.wishes(80), kStopForTime);
  EXPECT_EQ(stopping.margin_s(), 50 + 30 + 50 + 2 * 5);
}

TEST(Stopping, CountsTheEvaluationsUntilAStop) {
  const auto count = [](int64_t completed, int64_t every) {
    return evaluations_before_stop(completed, [&](int64_t step) { return step % every == 0; });
  };
  EXPECT_EQ(count(10, 1), 4);
  EXPECT_EQ(count(10, 3), 1);  // 12
  EXPECT_EQ(count(9, 3), 2);   // 9 and 12
  EXPECT_EQ(count(10, 10), 1);
  EXPECT_EQ(count(11, 10), 0);
  EXPECT_EQ(count(17, 10), 1);
  EXPECT_EQ(count(16, 10), 0);
}

// What lies between steps may come once more before the stop.
TEST(Stopping, TheLongestPauseCounts) {
  Stopping stopping({}, Deadline{100, "a limit"}, 0, 0);
  stopping.saved_in(0);
  stopping.wishes(1);
  stopping.wishes(31);
  stopping.wishes(32);
  stopping.wishes(33);
  EXPECT_EQ(stopping.margin_s(), 32);
  EXPECT_EQ(stopping.wishes(68), kStopForTime);
}

// No part of a step, and only where one may come.
TEST(Stopping, TheLongestEvaluationCountsWhereOneIsDue) {
  Stopping stopping({}, Deadline{58, "a limit"}, 0, 0);
  stopping.saved_in(0);
  for (const double now : {1, 2, 3}) stopping.wishes(now);
  stopping.evaluated_in(20);
  stopping.wishes(24);
  stopping.evaluated_in(10);
  stopping.wishes(35);
  EXPECT_EQ(stopping.margin_s(), 3);
  EXPECT_EQ(stopping.margin_s(1), 23);
  EXPECT_EQ(stopping.wishes(36, 1), kStopForTime);
  EXPECT_EQ(stopping.wishes(37, 0), 0U);
}

TEST(Stopping, TheFirstEvaluationIsExpectedToTakeTwiceItsSamplesTraining) {
  Stopping stopping({}, Deadline{1000, "a limit"}, 0, 0, {.evaluation_steps = 12.5});
  stopping.saved_in(0);
  for (const double now : {3, 4, 5, 6}) stopping.wishes(now);  // 1.5 s a step
  EXPECT_DOUBLE_EQ(stopping.margin_s(1), 3 + 1 + 1 + 2 * 12.5 * 1.5);
  stopping.evaluated_in(2);
  EXPECT_DOUBLE_EQ(stopping.margin_s(1), 3 + 1 + 1 + 2);
}

TEST(Stopping, TheFirstSaveIsExpectedToTakeASlowDisk) {
  Stopping stopping({}, Deadline{7200, "a limit"}, 0, 0, {.state_bytes = 1'000'000'000});
  EXPECT_DOUBLE_EQ(stopping.margin_s(), 2 * (10 + 20));
  stopping.saved_in(3);
  EXPECT_DOUBLE_EQ(stopping.margin_s(), 6);
}

TEST(Stopping, ADeadlineThatHasPassedStopsAtOnce) {
  Stopping stopping({}, Deadline{-5, "a limit"}, 0, 0);
  EXPECT_EQ(stopping.wishes(0.1), kStopForTime);
}

class DeadlineTest : public ::testing::Test {
 protected:
  // At 50 s of the clock it is 1'000'050 s since 1970; the program began at 40 s.
  std::optional<Deadline> of(std::optional<double> limit, const char* job_end) {
    return earliest_deadline(limit, 40, job_end, 1'000'050, 50,
                             [&](const std::string& warning) { warnings_.push_back(warning); });
  }
  std::vector<std::string> warnings_;
};

TEST_F(DeadlineTest, TheEarlierOfLimitAndJob) {
  EXPECT_FALSE(of({}, nullptr));
  EXPECT_EQ(of(600, nullptr)->at_s, 640);
  EXPECT_EQ(of(600, nullptr)->source, "train.time_limit 600s");
  EXPECT_EQ(of({}, "1000150")->at_s, 150);
  EXPECT_EQ(of(600, "1000150")->source, "the end of the Slurm job");
  EXPECT_EQ(of(60, "1000150")->at_s, 100);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(DeadlineTest, WhatIsNoTimeIsSaidAndNotWatched) {
  for (const char* wrong : {"", "soon", "1000150x", "nan", "inf", "-3", "0", "1000000"}) {
    warnings_.clear();
    EXPECT_FALSE(of({}, wrong)) << wrong;
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr(concat("SLURM_JOB_END_TIME=", wrong)))) << wrong;
  }
  EXPECT_EQ(of(60, "soon")->at_s, 100);
}

}  // namespace
}  // namespace largo
