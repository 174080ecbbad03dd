// Watchdogs of several ranks in one process, with limits of a fraction of a second. Only that
// things happen, and in which order, is asserted, not when.
#include "comm/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <deque>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>

#include "comm/base/error.h"
#include "comm/signs_of_life.h"

namespace largo::comm {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// One rank: its record, a line of all ranks, its watchdog, and what that said.
class Rank {
 public:
  Rank(std::shared_ptr<ProgressBoard> board, int rank, int world)
      : record(std::make_shared<FlightRecord>(std::move(board), rank)), line(make_line(world)) {
    std::vector<std::string> hosts;
    hosts.reserve(static_cast<size_t>(world));
    for (int r = 0; r < world; ++r) hosts.push_back(concat("host", r));
    dog = std::make_unique<Watchdog>(Watchdog::Setup{
        .record = record, .hosts = hosts, .token = "t", .end = [this] { ended = true; }});
  }

  void watch(double timeout_s, double init_timeout_s, const fs::path& folder = {}) {
    const auto voice = [this](const std::string& said_now) { say(said_now); };
    dog->set_voices(voice, voice);
    dog->set_folder(folder);
    dog->set_limits({.timeout_s = timeout_s, .init_timeout_s = init_timeout_s});
  }

  void set_voices(const std::function<void(const std::string&)>& voice) {
    dog->set_voices(voice, voice);
  }

  std::string said() {
    const std::scoped_lock lock(mutex);
    return text;
  }

  std::shared_ptr<FlightRecord> record;
  FlightRecord::Line line;
  std::atomic<bool> ended = false;

 private:
  FlightRecord::Line make_line(int world) {
    std::vector<int> members;
    members.reserve(static_cast<size_t>(world));
    for (int r = 0; r < world; ++r) members.push_back(r);
    return {record, "world", members};
  }

  void say(const std::string& more) {
    const std::scoped_lock lock(mutex);
    text += more + "\n";
  }

  std::mutex mutex;
  std::string text;
  std::unique_ptr<Watchdog> dog;  // goes first
};

void await(const std::function<bool()>& holds) {
  for (int i = 0; i < 3000 && !holds(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(holds()) << "waited in vain";
}

class WatchdogTest : public testing::Test {
 protected:
  WatchdogTest() { fs::create_directories(folder_); }
  ~WatchdogTest() override { fs::remove_all(folder_); }

  std::string file(int rank) const {
    std::ifstream in(folder_ / "watchdog.t.1" / concat("rank-", rank, ".txt"));
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const fs::path folder_ = fs::temp_directory_path() / concat("largo_watchdog_test_", getpid());
};

TEST_F(WatchdogTest, TheLowestThatWaitsNamesWhoIsMissingAndEndsTheJob) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1, 2});
  Rank first(board, 0, 3), second(board, 1, 3), third(board, 2, 3);
  first.record->mark(Doing::kData, 7);  // stuck in its loader
  for (Rank* rank : {&second, &third}) {
    rank->record->mark(Doing::kSumming, 7);
    rank->line.enter(CallKind::kAllReduce, 64, {"bucket", 0});
  }
  for (Rank* rank : {&first, &second, &third}) rank->watch(0.3, 0.3, folder_);
  await([&] { return second.ended.load(); });
  EXPECT_THAT(second.said(),
              AllOf(HasSubstr("all_reduce of 64 bytes (bucket 0), #1 on world, in step 7"),
                    HasSubstr("arrived: ranks 1, 2 on host1, host2"),
                    HasSubstr("missing: rank 0 on host0, which waits for data in step 7"),
                    HasSubstr("watchdog.t.1")));
  EXPECT_FALSE(first.ended);
  EXPECT_THAT(file(0), AllOf(HasSubstr("goes on\n"), HasSubstr("rank 0 ")));
  EXPECT_THAT(file(2), HasSubstr("#1: all_reduce of 64 bytes (bucket 0), NOT COMPLETE"));
}

TEST_F(WatchdogTest, WhereTheLowestDiesAnotherEndsTheJob) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
  // Rank 0 has raised, and is gone before it could end the job.
  board->place(0).answers = 3;
  Rank second(board, 1, 2);
  second.line.enter(CallKind::kBarrier, 0, {});
  second.watch(0.2, 0.2);
  await([&] { return second.ended.load(); });
  EXPECT_THAT(second.said(), HasSubstr("missing: rank 0"));
}

TEST_F(WatchdogTest, AStragglerThatComesAfterTheAlarmSavesTheJob) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
  Rank waits(board, 0, 2), late(board, 1, 2);
  waits.line.enter(CallKind::kAllReduce, 64, {});
  waits.watch(0.3, 0.3, folder_);
  await([&] { return board->find(0)->answers != 0; });
  late.line.enter(CallKind::kAllReduce, 64, {});
  late.line.leave();
  waits.line.leave();
  await([&] { return board->find(0)->answers == 2; });  // of the first alarm, raised no more
  EXPECT_FALSE(waits.ended);
  // One that the straggler has come to, but that does not end: its sign of life puts off the end.
  waits.line.enter(CallKind::kBarrier, 0, {});
  await([&] { return board->find(0)->answers == 5; });
  await([&] {
    late.record->mark(Doing::kComputing, 3);
    return board->find(0)->answers == 4;
  });
  EXPECT_FALSE(waits.ended);
  EXPECT_THAT(waits.said(), Not(HasSubstr("did not end")));
  await([&] { return waits.ended.load(); });
  EXPECT_THAT(waits.said(), AllOf(HasSubstr("barrier, #2 on world"), HasSubstr("watchdog.t.3")));
}

// Both ranks live in a child, which is stopped as a whole for longer than the limit.
TEST_F(WatchdogTest, AJobThatIsSuspendedGoesOn) {
  const pid_t child = fork();
  if (child == 0) {
    const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
    Rank waits(board, 0, 2), slow(board, 1, 2);
    waits.watch(1.2, 1.2);
    waits.line.enter(CallKind::kAllReduce, 64, {});
    for (int i = 0; i < 100; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const bool too_early = waits.ended;
    slow.line.enter(CallKind::kAllReduce, 64, {});
    slow.line.leave();
    waits.line.leave();
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));  // more than the grace
    _exit(too_early || waits.ended ? 1 : 0);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  kill(child, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  kill(child, SIGCONT);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(WatchdogTest, ALogThatHangsDoesNotKeepTheJob) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
  Rank waits(board, 0, 2), absent(board, 1, 2);
  std::atomic<bool> free = false;
  waits.line.enter(CallKind::kBarrier, 0, {});
  waits.watch(0.3, 0.3, folder_);
  const auto hangs = [&](const std::string&) {
    while (!free) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  };
  waits.set_voices(hangs);
  testing::internal::CaptureStderr();
  await([&] { return waits.ended.load(); });
  free = true;
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("[rank 0] error: barrier, #1 on world"));
}

TEST_F(WatchdogTest, AFileSystemThatHangsDoesNotKeepTheJob) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
  Rank waits(board, 0, 2), absent(board, 1, 2);
  fs::create_directories(folder_ / "watchdog.t.1");
  const fs::path pipe = folder_ / "watchdog.t.1" / "rank-0.txt.part";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);  // opening it for writing waits for a reader
  waits.line.enter(CallKind::kBarrier, 0, {});
  testing::internal::CaptureStderr();
  waits.watch(0.3, 0.3, folder_);
  await([&] { return waits.ended.load(); });
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("[rank 0] error: barrier, #1 on world"));
  std::ifstream reader(pipe);
  const std::string text(std::istreambuf_iterator<char>(reader), {});
  EXPECT_THAT(text, HasSubstr("waits\n"));
}

TEST_F(WatchdogTest, SlowRanksThatGoOnAreWaitedFor) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
  Rank waits(board, 0, 2), slow(board, 1, 2);
  waits.watch(1, 1);
  slow.watch(1, 1);
  waits.line.enter(CallKind::kAllReduce, 64, {});
  for (int i = 0; i < 250; ++i) {  // for longer than twice the limit
    slow.record->mark(Doing::kComputing, i);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_FALSE(waits.ended);
  EXPECT_THAT(waits.said(), Not(HasSubstr("did not end")));
  slow.line.enter(CallKind::kAllReduce, 64, {});
  slow.line.leave();
  waits.line.leave();
}

TEST_F(WatchdogTest, EvaluationsMayTakeLonger) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
  Rank waits(board, 0, 2), evaluates(board, 1, 2);
  evaluates.record->mark(Doing::kEvaluation, 10);
  waits.watch(0.05, 60);
  evaluates.watch(0.05, 60);
  waits.record->mark(Doing::kSumming, 10);
  waits.line.enter(CallKind::kAllReduce, 64, {});
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  EXPECT_FALSE(waits.ended);
  EXPECT_EQ(waits.said(), "");
  evaluates.record->mark(Doing::kData, 11);  // and then it is stuck
  await([&] { return waits.ended.load(); });
}

TEST_F(WatchdogTest, WarnsOnceAndFromOneRank) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1, 2});
  Rank first(board, 0, 3), second(board, 1, 3), third(board, 2, 3);
  for (Rank* rank : {&second, &third}) {
    rank->record->mark(Doing::kSumming, 7);
    rank->line.enter(CallKind::kBarrier, 0, {});
  }
  for (Rank* rank : {&first, &second, &third}) rank->watch(20, 20);
  await([&] { return !second.said().empty(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  const std::string said = second.said();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_THAT(said, AllOf(HasSubstr("s in barrier, #1 on world, in step 7; arrived: ranks 1, 2"),
                          HasSubstr("missing: rank 0 on host0, which starts")));
  EXPECT_EQ(third.said(), "");
  EXPECT_EQ(first.said(), "");
}

TEST_F(WatchdogTest, RanksOfOtherNodesAreAskedThroughFiles) {
  // Each on a node of its own; what they share is the folder.
  Rank first(std::make_shared<ProgressBoard>(std::vector<int>{0}), 0, 2);
  Rank second(std::make_shared<ProgressBoard>(std::vector<int>{1}), 1, 2);
  first.record->mark(Doing::kSumming, 3);
  second.record->mark(Doing::kData, 3);
  first.line.enter(CallKind::kAllReduce, 64, {});
  for (Rank* rank : {&first, &second}) rank->watch(0.2, 0.2, folder_);
  await([&] { return first.ended.load(); });
  EXPECT_THAT(first.said(), HasSubstr("missing: rank 1 on host1, which waits for data in step 3"));
  EXPECT_FALSE(second.ended);
}

TEST_F(WatchdogTest, SlowRanksOfOtherNodesAreWaitedFor) {
  Rank waits(std::make_shared<ProgressBoard>(std::vector<int>{0}), 0, 2);
  Rank slow(std::make_shared<ProgressBoard>(std::vector<int>{1}), 1, 2);
  waits.record->mark(Doing::kSumming, 3);
  waits.line.enter(CallKind::kAllReduce, 64, {});
  for (Rank* rank : {&waits, &slow}) rank->watch(1, 1, folder_);
  for (int i = 0; i < 600; ++i) {  // several alarms
    slow.record->mark(Doing::kComputing, i);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(fs::exists(folder_ / "watchdog.t.1" / "rank-1.txt"));
  EXPECT_FALSE(waits.ended);
  EXPECT_THAT(waits.said(), Not(HasSubstr("did not end")));
  await([&] { return waits.ended.load(); });  // once it is stuck
  EXPECT_THAT(waits.said(), HasSubstr("missing: rank 1 on host1, which computes in step 599"));
}

TEST_F(WatchdogTest, OfALineWhoseSlotAnotherTookNothingIsSaid) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
  Rank waits(board, 0, 2), busy(board, 1, 2);
  std::deque<FlightRecord::Line> more;
  for (int i = 0; i < ProgressBoard::kLines; ++i) {
    more.emplace_back(busy.record, "more", std::vector<int>{0, 1});
  }
  waits.line.enter(CallKind::kBarrier, 0, {});
  waits.watch(0.3, 0.3, folder_);
  await([&] { return waits.ended.load(); });
  EXPECT_THAT(waits.said(), AllOf(HasSubstr("arrived: rank 0 on host0; no word from rank 1"),
                                  Not(HasSubstr("missing"))));
}

TEST_F(WatchdogTest, WhoStagesForLongIsAlive) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0, 1});
  Rank waits(board, 0, 2), stages(board, 1, 2);
  waits.line.enter(CallKind::kBroadcast, 0, {});
  std::optional<SignsOfLife> alive;
  alive.emplace(stages.record, Doing::kStarting, std::chrono::milliseconds(20));
  waits.watch(0.8, 0.8);
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  EXPECT_FALSE(waits.ended);
  EXPECT_THAT(waits.said(), Not(HasSubstr("did not end")));
  alive.reset();
  await([&] { return waits.ended.load(); });
}

TEST_F(WatchdogTest, WithoutAFolderTheCallsAreSaid) {
  const auto board = std::make_shared<ProgressBoard>(std::vector<int>{0});
  Rank alone(board, 0, 2);
  alone.line.enter(CallKind::kBarrier, 0, {});
  alone.watch(0.2, 0.2);
  await([&] { return alone.ended.load(); });
  EXPECT_THAT(alone.said(), AllOf(HasSubstr("#1: barrier, NOT COMPLETE"),
                                  HasSubstr("no word from rank 1 on host1")));
}

}  // namespace
}  // namespace largo::comm
