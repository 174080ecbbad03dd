#include "trainer/data/stage.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/idx_bytes.h"

namespace largo::data {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::HasSubstr;

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string failure(ExitCode code, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(Staged, PathsGoBelowTheStage) {
  DataOptions options;
  options.path = "/data/imagenet/train-{0000..0146}.tar";
  options.val_path = "/data/./imagenet/x/../val.tar";
  EXPECT_EQ(staged(options).path, options.path) << "no stage";
  options.stage = "/local/scratch";
  EXPECT_EQ(staged(options).path, "/local/scratch/data/imagenet/train-{0000..0146}.tar");
  EXPECT_EQ(staged(options).val_path, "/local/scratch/data/imagenet/val.tar");
  EXPECT_EQ(staged(options).stage, "/local/scratch");
  options.val_path = "";
  EXPECT_EQ(staged(options).val_path, "");
  options.path = "relative/x";
  EXPECT_EQ(staged(options).path, "/local/scratch" + (fs::current_path() / "relative/x").string());
}

class StageTest : public testing::Test {
 protected:
  StageTest() {
    fs::create_directories(data / "sub");
    write_file(data / "a.tar", "first");
    write_file(data / "sub" / "b.tar", std::string(100'000, 'b'));
  }

  fs::path copy_of(const fs::path& file) const { return stage / file.relative_path(); }
  void run() const { stage_files({data / "a.tar", data / "sub" / "b.tar"}, stage.string()); }

  TempFolder folder;
  fs::path data = folder.path() / "data";
  fs::path stage = folder.path() / "local" / "stage";
};

TEST_F(StageTest, CopiesFilesToWhereOptionsLookForThem) {
  run();
  DataOptions options;
  options.path = (data / "sub").string();
  options.stage = stage.string();
  EXPECT_EQ(contents(fs::path(staged(options).path) / "b.tar"), std::string(100'000, 'b'));
  EXPECT_EQ(contents(copy_of(data / "a.tar")), "first");
  EXPECT_EQ(fs::last_write_time(copy_of(data / "a.tar")), fs::last_write_time(data / "a.tar"));
  for (const auto& entry : fs::recursive_directory_iterator(stage)) {
    EXPECT_NE(entry.path().extension(), ".part");
  }
}

// Whether a file was copied again is seen from a byte that was changed under it.
TEST_F(StageTest, CopiesOnlyWhatIsNotThere) {
  run();
  const fs::path copy = copy_of(data / "a.tar");
  const auto changed = fs::last_write_time(data / "a.tar");
  const auto damage = [&](const std::string& bytes, fs::file_time_type time) {
    write_file(copy, bytes);
    fs::last_write_time(copy, time);
    run();
    return contents(copy);
  };
  EXPECT_EQ(damage("FIRST", changed), "FIRST") << "the same size and time: taken as it is";
  EXPECT_EQ(damage("FIRST", changed - std::chrono::seconds(1)), "first");
  EXPECT_EQ(damage("FIRST", changed + std::chrono::seconds(1)), "first");
  EXPECT_EQ(damage("firs", changed), "first");
  fs::last_write_time(data / "a.tar", changed + std::chrono::hours(1));
  EXPECT_EQ(damage("FIRST", changed), "first") << "the original is newer";
}

TEST_F(StageTest, LeftoversOfAnEarlierRunAreNoHindrance) {
  const fs::path copy = copy_of(data / "a.tar");
  fs::create_directories(copy.parent_path());
  write_file(copy.string() + ".part", "longer than the file itself");
  run();
  EXPECT_EQ(contents(copy), "first");
  EXPECT_FALSE(fs::exists(copy.string() + ".part"));
}

TEST_F(StageTest, NothingToCopyIsLegal) {
  stage_files({}, stage.string());
  run();
  run();
}

TEST_F(StageTest, MissingFilesAreNamed) {
  const std::string missing = (data / "c.tar").string();
  const std::string message = failure(ExitCode::kInputMissing, [&] {
    stage_files({data / "a.tar", missing}, stage.string());
  });
  EXPECT_THAT(message, AllOf(HasSubstr(missing), HasSubstr("No such file")));
}

TEST_F(StageTest, StagesThatCannotBeWrittenAreNamed) {
  write_file(folder.path() / "file", "");
  const std::string below_a_file = (folder.path() / "file" / "stage").string();
  EXPECT_THAT(failure(ExitCode::kIo, [&] { stage_files({data / "a.tar"}, below_a_file); }),
              HasSubstr(below_a_file));

  const fs::path blocked = copy_of(data / "a.tar");
  fs::create_directories(blocked / "not empty");
  EXPECT_THAT(failure(ExitCode::kIo, [&] { run(); }),
              AllOf(HasSubstr((data / "a.tar").string()), HasSubstr(blocked.string()),
                    HasSubstr("GB free")));
}

// A sparse file that says it is larger than any disk.
TEST_F(StageTest, TooSmallDisksAreSeenBeforeAnythingIsCopied) {
  const fs::path huge = data / "huge.tar";
  write_file(huge, "");
  std::error_code error;
  fs::resize_file(huge, uintmax_t{1} << 43, error);
  if (error || fs::space(folder.path()).available > uintmax_t{1} << 43) {
    GTEST_SKIP() << "no such file here, or a larger disk";
  }
  const std::string message = failure(ExitCode::kIo, [&] {
    stage_files({data / "a.tar", huge}, stage.string());
  });
  EXPECT_THAT(message, AllOf(HasSubstr("a.tar and 1 more"), HasSubstr("8796.09 GB are needed"),
                             HasSubstr("GB are free")));
  EXPECT_FALSE(fs::exists(copy_of(data / "a.tar")));
}

TEST_F(StageTest, JobsWaitForEachOther) {
  fs::create_directories(stage);
  const int lock = ::open((stage / ".largo_stage.lock").c_str(), O_CREAT | O_RDWR, 0666);
  ASSERT_GE(lock, 0);
  ASSERT_EQ(::flock(lock, LOCK_EX), 0);
  std::jthread other([&] { run(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(fs::exists(copy_of(data / "a.tar")));
  ::close(lock);
  other.join();
  EXPECT_EQ(contents(copy_of(data / "a.tar")), "first");
}

TEST_F(StageTest, ManyMayStageAtOnce) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { run(); });
  threads.clear();
  EXPECT_EQ(contents(copy_of(data / "sub" / "b.tar")), std::string(100'000, 'b'));
}

}  // namespace
}  // namespace largo::data
