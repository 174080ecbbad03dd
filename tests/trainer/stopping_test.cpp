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

// The first step at whose end the time left is no more than two steps and two saves take.
TEST(Stopping, RankZeroStopsInTimeForTheDeadline) {
  const auto first_wish = [](int rank, double seconds_per_step, std::optional<double> save) {
    Stopping stopping({}, Deadline{100, "a limit"}, rank, 0);
    if (save) stopping.saved_in(*save);
    for (double now = seconds_per_step; now < 200; now += seconds_per_step) {
      if (stopping.wishes(now) == kStopForTime) return now;
    }
    return 0.0;
  };
  EXPECT_EQ(first_wish(0, 1, 0.5), 97);   // 97 + 1 + 1 + 2 x 0.5
  EXPECT_EQ(first_wish(0, 5, 20), 50);    // 50 + 5 + 5 + 2 x 20
  EXPECT_EQ(first_wish(0, 1, {}), 78);    // a tenth of the limit where no save has been seen
  EXPECT_EQ(first_wish(0, 60, 0.5), 60);  // the first step says that a second has no place
  EXPECT_EQ(first_wish(1, 1, 0.5), 0);    // not its to watch
}

// What lies between steps, as an evaluation does, may come once more before the stop.
TEST(Stopping, TheLongestPauseCounts) {
  Stopping stopping({}, Deadline{100, "a limit"}, 0, 0);
  stopping.saved_in(0);
  stopping.wishes(1);
  stopping.wishes(31);
  stopping.wishes(32);
  EXPECT_EQ(stopping.margin_s(), 31);
  EXPECT_EQ(stopping.wishes(68), kStopForTime);
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
