#include "comm/watch_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <atomic>
#include <memory>
#include <thread>

#include "comm/process_state.h"
#include "comm/regular_looks.h"

namespace largo::comm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr WatchLimits kLimits = {.timeout_s = 60, .init_timeout_s = 300};
constexpr double kAlways = 1e9;  // watched
const uint64_t kSum = FlightRecord::pack(CallKind::kAllReduce, 4000);

RankSeen in_it(int rank, const char* host, double silent_s) {
  return {.rank = rank,
          .host = host,
          .known = true,
          .doing = Doing::kSumming,
          .step = 5,
          .silent_s = silent_s,
          .line_known = true,
          .begun = 17,
          .done = 16,
          .what = kSum};
}

RankSeen elsewhere(int rank, const char* host, Doing doing, double silent_s) {
  return {.rank = rank,
          .host = host,
          .known = true,
          .doing = doing,
          .step = 5,
          .silent_s = silent_s,
          .line_known = true,
          .begun = 16,
          .done = 16};
}

FlightRecord::Waiting call_17() {
  return {.line = "world",
          .members = {0, 1, 2, 3},
          .call = {.line = 1,
                   .sequence = 17,
                   .kind = CallKind::kAllReduce,
                   .bytes = 4000,
                   .step = 5,
                   .name = {"bucket", 3}},
          .call_known = true};
}

TEST(Patience, RunsOutWhenNobodyShowsASignOfLife) {
  const std::vector<RankSeen> ranks = {in_it(0, "a", 59), elsewhere(1, "a", Doing::kData, 70)};
  EXPECT_NEAR(patience_used(59, kAlways, Doing::kSumming, ranks, kLimits), 59.0 / 60, 1e-12);
  EXPECT_GT(patience_used(61, kAlways, Doing::kSumming, {in_it(0, "a", 61), ranks[1]}, kLimits), 1);
}

TEST(Patience, IsKeptByARankThatIsSlowAndGoesOn) {
  const std::vector<RankSeen> ranks = {in_it(0, "a", 500), elsewhere(1, "a", Doing::kComputing, 3)};
  EXPECT_LT(patience_used(500, kAlways, Doing::kSumming, ranks, kLimits), 0.1);
}

TEST(Patience, IsLongerForWhatMayTakeLong) {
  for (const Doing doing : {Doing::kStarting, Doing::kFirstStep, Doing::kEvaluation,
                            Doing::kCheckpoint, Doing::kEnding}) {
    const std::vector<RankSeen> ranks = {in_it(0, "a", 200), elsewhere(1, "a", doing, 200)};
    EXPECT_LT(patience_used(200, kAlways, Doing::kSumming, ranks, kLimits), 1);
    const std::vector<RankSeen> later = {in_it(0, "a", 301), elsewhere(1, "a", doing, 301)};
    EXPECT_GT(patience_used(301, kAlways, Doing::kSumming, later, kLimits), 1);
  }
  // Of ranks that nothing is known of, the waiting one takes itself as the measure.
  const std::vector<RankSeen> remote = {{.rank = 9, .host = "z"}};
  EXPECT_GT(patience_used(61, kAlways, Doing::kSumming, remote, kLimits), 1);
  EXPECT_LT(patience_used(61, kAlways, Doing::kEvaluation, remote, kLimits), 1);
}

TEST(Patience, OfTheFirstStepIsNeverShorter) {
  const WatchLimits limits = {.timeout_s = 600, .init_timeout_s = 10};
  EXPECT_LT(patience_used(500, kAlways, Doing::kFirstStep, {in_it(0, "a", 500)}, limits), 1);
}

TEST(Patience, CountsOnlyWhileThisProcessRuns) {
  const std::vector<RankSeen> ranks = {in_it(0, "a", 900), elsewhere(1, "a", Doing::kData, 900)};
  EXPECT_NEAR(patience_used(900, 30, Doing::kSumming, ranks, kLimits), 0.5, 1e-12);
  EXPECT_NEAR(patience_used(900, 30, Doing::kSumming, {}, kLimits), 0.5, 1e-12);
  EXPECT_GT(patience_used(900, 61, Doing::kSumming, ranks, kLimits), 1);
}

TEST(RegularLooks, CountFromAfterTheLastGap) {
  using std::chrono::milliseconds;
  const RegularLooks::Clock::time_point begin{};
  RegularLooks looks(begin);
  EXPECT_EQ(looks.since(1, begin + milliseconds(900)), begin);
  EXPECT_EQ(looks.since(1, begin + milliseconds(1800)), begin);
  EXPECT_EQ(looks.since(1, begin + milliseconds(2900)), begin + milliseconds(2900));
  EXPECT_EQ(looks.since(1, begin + milliseconds(3800)), begin + milliseconds(2900));
}

TEST(WatchReport, NamesTheCollective) {
  EXPECT_EQ(name_of(call_17()), "all_reduce of 4000 bytes (bucket 3), #17 on world, in step 5");
}

TEST(WatchReport, SaysWhoCameAndWhatTheOthersDo) {
  const std::string text = describe_ranks(call_17(), {in_it(0, "a", 61),
                                                      elsewhere(1, "a", Doing::kData, 70),
                                                      in_it(2, "b", 61),
                                                      {.rank = 3, .host = "c"}});
  EXPECT_EQ(text,
            "arrived: ranks 0, 2 on a, b; missing: rank 1 on a, which waits for data in step 5 "
            "(last sign of life 70 s ago); no word from rank 3 on c");
}

TEST(WatchReport, SaysThatRanksCallDifferentThings) {
  RankSeen other = in_it(1, "a", 61);
  other.what = FlightRecord::pack(CallKind::kBarrier, 0);
  EXPECT_THAT(describe_ranks(call_17(), {in_it(0, "a", 61), other}),
              HasSubstr("rank 1 on a is in barrier instead: the ranks do not call the same"));
  RankSeen behind = in_it(1, "a", 61);
  behind.begun = 12;
  behind.done = 11;
  EXPECT_THAT(describe_ranks(call_17(), {in_it(0, "a", 61), behind}),
              HasSubstr("missing: rank 1 on a, which is in all_reduce of 4000 bytes #12"));
}

TEST(WatchReport, ComparesOnlyWhatIsKnown) {
  FlightRecord::Waiting waiting = call_17();
  waiting.call_known = false;
  RankSeen other = in_it(1, "a", 61);
  other.what = FlightRecord::pack(CallKind::kBarrier, 0);
  EXPECT_THAT(describe_ranks(waiting, {in_it(0, "a", 61), other}), Not(HasSubstr("instead")));
  EXPECT_EQ(name_of(waiting), "a collective, #17 on world, in step 5");
  other.what = 0;
  EXPECT_THAT(describe_ranks(call_17(), {in_it(0, "a", 61), other}), Not(HasSubstr("instead")));
}

TEST(WatchReport, ARankOfWhoseLineNothingIsKnownIsNotMissing) {
  RankSeen lost = elsewhere(1, "a", Doing::kData, 70);
  lost.line_known = false;
  lost.line_lost = true;
  EXPECT_EQ(describe_ranks(call_17(), {in_it(0, "a", 61), lost}),
            "arrived: rank 0 on a; no word from rank 1 on a");
}

TEST(WatchReport, SaysThatAllHaveCome) {
  RankSeen done = in_it(1, "a", 61);
  done.done = 17;
  done.what = 0;
  EXPECT_THAT(describe_ranks(call_17(), {in_it(0, "a", 61), done}),
              AllOf(HasSubstr("all have come, and it does not end"), Not(HasSubstr("missing"))));
}

TEST(WatchReport, SaysWhatTheSystemSaysOfAProcess) {
  RankSeen stopped = in_it(1, "a", 61);
  stopped.trouble = "is stopped";
  EXPECT_EQ(describe_ranks(call_17(), {in_it(0, "a", 61), stopped}),
            "arrived: ranks 0, 1 on a; the process of rank 1 on a is stopped");
}

TEST(ProcessState, TellsAStoppedProcess) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  const uint64_t began = began_of(child);
  EXPECT_NE(began, 0u);
  EXPECT_EQ(trouble_of(child, began), nullptr);
  kill(child, SIGSTOP);
  waitpid(child, nullptr, WUNTRACED);
  EXPECT_STREQ(trouble_of(child, began), "is stopped");
  EXPECT_EQ(trouble_of(child, began + 1), nullptr);  // another process of this id
  kill(child, SIGKILL);
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_STREQ(trouble_of(child, began), "is dead");
  waitpid(child, nullptr, 0);
  EXPECT_EQ(trouble_of(child, began), nullptr);
  EXPECT_EQ(began_of(child), 0u);
}

TEST(WatchReport, NamesNoMoreThanSixteen) {
  std::vector<RankSeen> ranks = {in_it(0, "a", 61)};
  for (int r = 1; r < 100; ++r) ranks.push_back(elsewhere(r, "b", Doing::kData, 70));
  EXPECT_THAT(describe_ranks(call_17(), ranks),
              AllOf(HasSubstr("rank 16 on b"), Not(HasSubstr("rank 17 on b")),
                    HasSubstr("83 more are missing")));
}

TEST(RankWord, ReadsBack) {
  const RankWord word = {.rank = 7,
                         .doing = Doing::kCheckpoint,
                         .step = 12,
                         .silent_s = 1.5,
                         .lines = {{.line = 3, .name = "", .begun = 9, .done = 8, .what = kSum}}};
  const auto back = word_from_text(to_text(word) + "calls, oldest first:\n");
  ASSERT_TRUE(back);
  EXPECT_EQ(back->rank, 7);
  EXPECT_EQ(back->doing, Doing::kCheckpoint);
  EXPECT_EQ(back->step, 12);
  EXPECT_EQ(back->silent_s, 1.5);
  ASSERT_EQ(back->lines.size(), 1u);
  EXPECT_EQ(back->lines[0].begun, 9u);
  EXPECT_EQ(back->lines[0].what, kSum);
  for (const char* text : {"", "rank", "rank 1 99 0 0 0\n", "rank 1 0 0 0 99999999999\n",
                           "rank 1 0 0 0 2\n1 2 3 4\n", "ranks 1 0 0 0 0\n"}) {
    EXPECT_FALSE(word_from_text(text)) << text;
  }
}

class FlightRecordTest : public testing::Test {
 protected:
  std::shared_ptr<ProgressBoard> board_ = std::make_shared<ProgressBoard>(std::vector<int>{3, 4});
  std::shared_ptr<FlightRecord> record_ = std::make_shared<FlightRecord>(board_, 4);
};

TEST_F(FlightRecordTest, KnowsWhatIsUnderWay) {
  FlightRecord::Line line(record_, "world", {3, 4});
  record_->mark(Doing::kComputing, 8);
  EXPECT_TRUE(record_->waiting().empty());
  {
    const CallName name("bucket", 2);
    line.enter(CallKind::kAllReduce, 400, CallName::current());
  }
  line.enter(CallKind::kBarrier, 0, CallName::current());
  ASSERT_EQ(record_->waiting().size(), 1u);
  const auto waiting = record_->waiting().front();
  EXPECT_EQ(name_of(waiting), "all_reduce of 400 bytes (bucket 2), #1 on world, in step 8");
  EXPECT_GT(waiting.since_ns, 0);
  line.leave();
  EXPECT_EQ(name_of(record_->waiting().front()), "barrier, #2 on world, in step 8");
  // Time counts from when it became the first.
  EXPECT_GE(record_->waiting().front().since_ns, waiting.since_ns);
  line.leave();
  EXPECT_TRUE(record_->waiting().empty());
}

TEST_F(FlightRecordTest, IsOnTheBoardForOthers) {
  FlightRecord::Line first(record_, "one", {3, 4});
  FlightRecord::Line line(record_, "two", {3, 4});
  line.enter(CallKind::kAllReduce, 400, {});
  line.enter(CallKind::kBroadcast, 8, {});
  const auto& seen = board_->find(4)->lines[1];
  EXPECT_EQ(seen.id, line.id());
  EXPECT_EQ(seen.begun, 2u);
  EXPECT_EQ(seen.done, 0u);
  EXPECT_EQ(FlightRecord::unpacked(seen.what(1)), "all_reduce of 400 bytes");
  line.leave();
  EXPECT_EQ(seen.done, 1u);
  EXPECT_EQ(FlightRecord::unpacked(seen.what(2)), "broadcast of 8 bytes");
  EXPECT_EQ(seen.what(3), 0u);
  EXPECT_EQ(board_->find(3)->lines[1].begun, 0u);
}

TEST_F(FlightRecordTest, KeepsTheLastCalls) {
  FlightRecord::Line line(record_, "world", {3, 4});
  for (int i = 0; i < 100; ++i) {
    const FlightRecord::Call call(&line, CallKind::kAllReduce, 1000 + i, {});
  }
  line.enter(CallKind::kBarrier, 0, {});
  const std::string text = record_->dump();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 32);
  EXPECT_THAT(text, AllOf(HasSubstr("#70: all_reduce of 1069 bytes, took "),
                          HasSubstr("#101: barrier, NOT COMPLETE"), Not(HasSubstr("#69:"))));
  EXPECT_LT(text.find("#70:"), text.find("#100:"));
}

TEST_F(FlightRecordTest, ALineThatIsGoneWaitsForNothing) {
  {
    FlightRecord::Line line(record_, "world", {3, 4});
    line.enter(CallKind::kBarrier, 0, {});
    EXPECT_EQ(record_->waiting().size(), 1u);
  }
  EXPECT_TRUE(record_->waiting().empty());
  // More lines than slots: each has its own count.
  for (int i = 0; i < 3 * ProgressBoard::kLines; ++i) {
    FlightRecord::Line line(record_, "again", {3, 4});
    line.enter(CallKind::kBarrier, 0, {});
    EXPECT_EQ(record_->waiting().front().call.sequence, 1u);
  }
}

TEST_F(FlightRecordTest, KnowsTheFirstOfManyThatAreInFlight) {
  FlightRecord::Line line(record_, "stream", {3, 4});
  FlightRecord::Line other(record_, "world", {3, 4});
  for (int i = 0; i < ProgressBoard::kCalls; ++i) line.enter(CallKind::kAllReduce, 1000 + i, {});
  for (int i = 0; i < 100; ++i) const FlightRecord::Call call(&other, CallKind::kBarrier, 0, {});
  EXPECT_EQ(name_of(record_->waiting().front()),
            "all_reduce of 1000 bytes, #1 on stream, in step 0");
  EXPECT_EQ(FlightRecord::unpacked(board_->find(4)->lines[0].what(1)), "all_reduce of 1000 bytes");
  EXPECT_EQ(FlightRecord::unpacked(record_->positions().front().what), "all_reduce of 1000 bytes");
  const int64_t since = record_->waiting().front().since_ns;
  line.enter(CallKind::kAllReduce, 7, {});  // one more than are kept
  EXPECT_EQ(name_of(record_->waiting().front()), "a collective, #1 on stream, in step 0");
  EXPECT_EQ(record_->waiting().front().since_ns, since);
  EXPECT_EQ(board_->find(4)->lines[0].what(1), 0u);
  EXPECT_EQ(record_->positions().front().what, 0u);
}

// Calls are entered by one thread and left by another, and others look on: what they see of a call
// is that call's.
TEST_F(FlightRecordTest, WhatIsSeenOfACallIsNeverAnothers) {
  FlightRecord::Line line(record_, "stream", {3, 4});
  constexpr uint64_t kTimes = 100000;
  std::atomic<uint64_t> entered{0};
  std::atomic<bool> over{false};
  std::thread leaves([&] {
    for (uint64_t left = 0; left < kTimes; ++left) {
      while (entered.load() <= left) std::this_thread::yield();
      line.leave();
    }
    over = true;
  });
  std::thread enters([&] {
    for (uint64_t i = 1; i <= kTimes; ++i) {
      line.enter(CallKind::kAllReduce, i, {});
      entered = i;
    }
  });
  int64_t wrong = 0;
  const ProgressBoard::Line& seen = board_->find(4)->lines[0];
  while (!over) {
    const uint64_t done = seen.done.load();
    const uint64_t begun = seen.begun.load();
    const uint64_t what = seen.what(done + 1);
    if (begun > done && what != 0 && what != done + 1) ++wrong;
    for (const auto& waiting : record_->waiting()) {
      if (waiting.call_known && waiting.call.bytes != waiting.call.sequence) ++wrong;
      if (waiting.since_ns == 0) ++wrong;
    }
  }
  enters.join();
  leaves.join();
  EXPECT_EQ(wrong, 0);
}

TEST(CallName, IsTheInnermostAndComesBack) {
  EXPECT_EQ(CallName::current().what, nullptr);
  const CallName outer("record");
  {
    const CallName inner("bucket", 1);
    EXPECT_STREQ(CallName::current().what, "bucket");
  }
  EXPECT_STREQ(CallName::current().what, "record");
}

}  // namespace
}  // namespace largo::comm
