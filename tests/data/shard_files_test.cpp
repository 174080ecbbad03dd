#include "trainer/data/shard_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/idx_bytes.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;

namespace fs = std::filesystem;

std::string text(const ByteSource& source, uint64_t offset, size_t count) {
  std::vector<uint8_t> bytes(count);
  bytes.resize(source.read(offset, bytes));
  return {bytes.begin(), bytes.end()};
}

// How many files below `folder` this process has open.
int open_files(const fs::path& folder) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const fs::path target = fs::read_symlink(entry.path(), error);
    if (!error && target.string().starts_with(folder.string())) ++count;
  }
  return count;
}

class ShardFilesTest : public testing::Test {
 protected:
  // Files 0 … count − 1 hold "file 0" and so on.
  std::vector<ShardFiles::File> make(int count) {
    std::vector<ShardFiles::File> files;
    for (int i = 0; i < count; ++i) {
      const std::string content = "file " + std::to_string(i);
      files.push_back({folder.path() / std::to_string(i), content.size()});
      write_file(files.back().path, content);
    }
    return files;
  }

  TempFolder folder;
};

TEST_F(ShardFilesTest, KeepsAFewOpen) {
  const ShardFiles files(make(7), /*most_open=*/3, /*random_reads=*/true);
  EXPECT_EQ(open_files(folder.path()), 0);
  for (const size_t number : {0, 1, 2, 3, 4, 5, 6, 0, 6, 3, 2}) {
    EXPECT_EQ(text(*files.get(number), 0, 99), "file " + std::to_string(number));
    EXPECT_LE(open_files(folder.path()), 3);
  }
  EXPECT_EQ(open_files(folder.path()), 3);
}

TEST_F(ShardFilesTest, ClosesTheOneNotUsedTheLongest) {
  const ShardFiles files(make(4), /*most_open=*/3, /*random_reads=*/false);
  const OpenFile* first = files.get(0).get();
  files.get(1);
  files.get(2);
  files.get(0);
  files.get(3);  // in place of 1
  EXPECT_EQ(files.get(0).get(), first);
  fs::remove(folder.path() / "0");
  fs::remove(folder.path() / "1");
  EXPECT_EQ(files.get(0).get(), first);
  EXPECT_THROW(files.get(1), Error);
}

TEST_F(ShardFilesTest, AFileInUseStaysOpen) {
  const ShardFiles files(make(3), /*most_open=*/1, /*random_reads=*/false);
  const auto kept = files.get(0);
  files.get(1);
  files.get(2);
  EXPECT_EQ(text(*kept, 5, 1), "0");
}

TEST_F(ShardFilesTest, ServesManyThreads) {
  const ShardFiles files(make(9), /*most_open=*/2, /*random_reads=*/false);
  {
    std::vector<std::jthread> threads;
    for (size_t start = 0; start < 4; ++start) {
      threads.emplace_back([&files, start] {
        for (size_t i = 0; i < 300; ++i) {
          const size_t number = (start / 2 + i * 5) % 9;
          EXPECT_EQ(text(*files.get(number), 0, 99), "file " + std::to_string(number));
        }
      });
    }
  }
  EXPECT_EQ(open_files(folder.path()), 2);
}

TEST_F(ShardFilesTest, RefusesFilesThatChanged) {
  std::vector<ShardFiles::File> list = make(2);
  write_file(list[1].path, "longer than before");
  fs::remove(list[0].path);
  const ShardFiles files(list, 2, false);
  const auto refusal = [&](size_t number, ExitCode code) {
    try {
      files.get(number);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal(0, ExitCode::kInputMissing),
              AllOf(HasSubstr(list[0].path.string()), HasSubstr("data.path")));
  EXPECT_THAT(refusal(1, ExitCode::kBadData), HasSubstr("has 18 bytes, but had 6"));
}

TEST_F(ShardFilesTest, OpenFileReadsWhatThereIs) {
  write_file(folder.path() / "f", "0123456789");
  const OpenFile file(folder.path() / "f", "cure");
  EXPECT_EQ(file.size(), 10u);
  EXPECT_EQ(text(file, 3, 4), "3456");
  EXPECT_EQ(text(file, 8, 4), "89");
  EXPECT_EQ(text(file, 10, 4), "");
  EXPECT_EQ(text(file, 99, 4), "");
}

TEST_F(ShardFilesTest, OpenFileRefusesWhatIsNoFile) {
  const auto code = [&](const std::string& path) {
    try {
      const OpenFile file(path, "the cure");
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(path), HasSubstr("; the cure")));
      return error.code();
    }
    return ExitCode::kDone;
  };
  EXPECT_EQ(code(folder.path().string()), ExitCode::kBadData);
  EXPECT_EQ(code("/dev/null"), ExitCode::kBadData);
  EXPECT_EQ(code((folder.path() / "none").string()), ExitCode::kInputMissing);
  EXPECT_EQ(open_files(folder.path()), 0);
}

TEST_F(ShardFilesTest, OpenFileNamesThePlaceThatCannotBeRead) {
  const OpenFile memory("/proc/self/mem", "cure");  // nothing is mapped at its start
  std::vector<uint8_t> bytes(8);
  try {
    memory.read(16, bytes);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
    EXPECT_THAT(error.what(), HasSubstr("/proc/self/mem: reading at byte 16 fails: "));
  }
}

TEST(MemoryBytes, ReadWhatThereIs) {
  const std::vector<uint8_t> bytes = {'a', 'b', 'c'};
  const MemoryBytes source(bytes, "m");
  EXPECT_EQ(source.size(), 3u);
  EXPECT_EQ(text(source, 1, 9), "bc");
  EXPECT_EQ(text(source, 3, 9), "");
  EXPECT_EQ(text(source, 1 << 30, 9), "");
}

}  // namespace
}  // namespace largo::data
