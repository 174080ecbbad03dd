#include "trainer/checkpoint/run_directory.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "tests/checkpoint/temporary_folder.h"
#include "trainer/base/atomic_file.h"

namespace largo::checkpoint {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(RunDirectory, TellsNewFromUnfinishedFromFinished) {
  const TemporaryFolder folder;
  const auto open = [&] { return RunDirectory::open(folder.path() / "runs", "a", false); };
  EXPECT_EQ(open().state(), RunState::kNew);
  EXPECT_EQ(open().state(), RunState::kNew);  // nothing was recorded in between
  write_file_atomically(open().config_yaml(), "run: {}\n");
  EXPECT_EQ(open().state(), RunState::kUnfinished);
  write_file_atomically(open().summary_json(), R"({"status": "stopped"})");
  EXPECT_EQ(open().state(), RunState::kUnfinished);
  write_file_atomically(open().summary_json(), R"({"status": "done"})");
  EXPECT_EQ(open().state(), RunState::kFinished);
  EXPECT_EQ(open().path(), folder.path() / "runs" / "a");
}

TEST(RunDirectory, RefusesASummaryThatIsNone) {
  const TemporaryFolder folder;
  for (const char* text : {"", "{", "[]", "{}", R"({"status": 1})"}) {
    write_file_atomically(folder.path() / "summary.json", text);
    const auto message = error_of(ExitCode::kBadData, [&] {
      RunDirectory::open(folder.path().parent_path(), folder.path().filename(), false);
    });
    EXPECT_THAT(message, HasSubstr("summary.json is not a summary")) << text;
  }
  EXPECT_FALSE(fs::exists(folder.path() / "lock"));  // released on the way out
}

TEST(RunDirectory, IsLockedWhileOpen) {
  const TemporaryFolder folder;
  {
    const RunDirectory held = RunDirectory::open(folder.path(), "a", false);
    const auto message =
        error_of(ExitCode::kUnavailable, [&] { RunDirectory::open(folder.path(), "a", false); });
    EXPECT_THAT(message, HasSubstr((folder.path() / "a").string()));
    EXPECT_THAT(message, HasSubstr(concat("in use by ", ::getpid(), '@')));
    error_of(ExitCode::kUnavailable, [&] { RunDirectory::open(folder.path(), "a", true); });
    EXPECT_FALSE(fs::exists(folder.path() / "a.old-1"));
    EXPECT_EQ(RunDirectory::open(folder.path(), "b", false).state(), RunState::kNew);
  }
  EXPECT_FALSE(fs::exists(folder.path() / "a" / "lock"));
  RunDirectory::open(folder.path(), "a", false);
}

// The lock of a killed run is gone with it, although its file stays.
TEST(RunDirectory, AnotherProcessHoldsItUntilItDies) {
  const TemporaryFolder folder;
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const RunDirectory held = RunDirectory::open(folder.path(), "a", false);
    [[maybe_unused]] const ssize_t written = ::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  ::close(ready[1]);
  char byte = 0;
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  EXPECT_THAT(
      error_of(ExitCode::kUnavailable, [&] { RunDirectory::open(folder.path(), "a", false); }),
      HasSubstr(concat("in use by ", child, '@')));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(fs::exists(folder.path() / "a" / "lock"));
  EXPECT_EQ(RunDirectory::open(folder.path(), "a", false).state(), RunState::kNew);
}

TEST(RunDirectory, FreshRenamesAndNeverDeletes) {
  const TemporaryFolder folder;
  const auto text_of = [&](const char* path) {
    std::string text;
    std::getline(std::ifstream(folder.path() / path), text);
    return text;
  };
  // Nothing is there to rename.
  EXPECT_EQ(RunDirectory::open(folder.path(), "a", true).state(), RunState::kNew);
  write_file_atomically(folder.path() / "a" / "config.yaml", "first");
  {
    const RunDirectory second = RunDirectory::open(folder.path(), "a", true);
    EXPECT_EQ(second.state(), RunState::kNew);
    EXPECT_TRUE(fs::exists(folder.path() / "a" / "lock"));
    EXPECT_FALSE(fs::exists(folder.path() / "a.old-1" / "lock"));
    write_file_atomically(second.config_yaml(), "second");
  }
  RunDirectory::open(folder.path(), "a", true);
  EXPECT_EQ(text_of("a.old-1/config.yaml"), "first");
  EXPECT_EQ(text_of("a.old-2/config.yaml"), "second");
}

TEST(RunDirectory, SaysWhyItCannotBeWritten) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "file", "");
  EXPECT_THAT(
      error_of(ExitCode::kIo, [&] { RunDirectory::open(folder.path() / "file", "a", false); }),
      HasSubstr("Not a directory"));
}

TEST(RunDirectory, NamesStayInsideOfTheOutput) {
  const TemporaryFolder folder;
  for (const char* name : {"", ".", "..", "../a", "a/../../b", "/tmp/a"}) {
    EXPECT_THAT(
        error_of(ExitCode::kConfig, [&] { RunDirectory::open(folder.path(), name, false); }),
        HasSubstr("run.name"))
        << name;
  }
  EXPECT_EQ(RunDirectory::open(folder.path(), "study/point", false).path(),
            folder.path() / "study" / "point");
}

}  // namespace
}  // namespace largo::checkpoint
