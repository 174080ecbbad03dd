#include "comm/progress_board.h"

#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>

#include "comm/base/error.h"

namespace largo::test {
namespace {

using comm::ProgressBoard;

TEST(ProgressBoard, CountsPerRank) {
  ProgressBoard board({4, 5, 7});
  board.begin(4);
  board.enqueued(5, 12);
  EXPECT_EQ(board.progress(4), 0u);
  EXPECT_EQ(board.progress(5), 12u);
  EXPECT_EQ(board.progress(7), std::nullopt);
  EXPECT_TRUE(board.knows(7));
  EXPECT_EQ(board.progress(6), std::nullopt);
  EXPECT_FALSE(board.knows(6));
  EXPECT_THROW(board.begin(6), Error);
}

TEST(ProgressBoard, SaysWhoIsLate) {
  ProgressBoard board({0, 1, 2, 3});
  EXPECT_EQ(board.describe(0, 2), "0 ranks have begun; rank 0 is ABSENT; rank 1 is ABSENT");
  for (const int rank : {0, 1, 2}) board.begin(rank);
  EXPECT_EQ(board.describe(0, 4), "3 ranks have begun; rank 3 is ABSENT");
  board.enqueued(0, 13);
  board.enqueued(1, 20);
  board.enqueued(2, 12);
  EXPECT_EQ(board.describe(13, 4),
            "2 ranks have enqueued it; rank 2 is BEHIND (#12); rank 3 is ABSENT");
  EXPECT_EQ(board.describe(20, 1), "0 ranks have enqueued it; rank 0 is BEHIND (#13)");
  EXPECT_EQ(board.describe(12, 64),
            "3 ranks have enqueued it; rank 3 is ABSENT; 60 on other nodes: unknown");
}

TEST(ProgressBoard, NamesNoMoreThanSixteen) {
  std::vector<int> ranks(100);
  std::iota(ranks.begin(), ranks.end(), 0);
  const std::string text = ProgressBoard(ranks).describe(1, 100);
  EXPECT_THAT(text, testing::HasSubstr("rank 15 is ABSENT; 84 more ranks"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("rank 16 is")));
}

TEST(SharedBoard, IsReadByAnotherProcessAndHasNoName) {
  const auto files = [] {
    return std::distance(std::filesystem::directory_iterator("/dev/shm"), {});
  };
  const auto before = files();
  const auto mine = ProgressBoard::share({0, 1});
  EXPECT_EQ(files(), before);
  mine->enqueued(0, 41);
  const pid_t child = fork();
  if (child == 0) {
    try {
      const auto theirs = ProgressBoard::open(mine->key(), {0, 1});
      theirs->enqueued(1, *theirs->progress(0) + 1);
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(mine->progress(1), 42u);
  mine->close_door();
  EXPECT_THROW(ProgressBoard::open(mine->key(), {0, 1}), Error);
  mine->enqueued(0, 43);  // the memory stays
  EXPECT_EQ(mine->progress(0), 43u);
}

}  // namespace
}  // namespace largo::test
