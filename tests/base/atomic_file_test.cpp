#include "trainer/base/atomic_file.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "comm/base/error.h"

namespace {

// So many of the calls that follow end as where a signal has come.
int interrupted_fsyncs = 0;
int interrupted_closes = 0;

bool is_one_of(int& interrupted_calls) {
  if (interrupted_calls == 0) return false;
  --interrupted_calls;
  errno = EINTR;
  return true;
}

template <class... Arguments>
auto real(const char* name, Arguments... arguments) {
  return reinterpret_cast<int (*)(Arguments...)>(dlsym(RTLD_NEXT, name))(arguments...);
}

}  // namespace

extern "C" {
int fsync(int fd) { return is_one_of(interrupted_fsyncs) ? -1 : real("fsync", fd); }
int close(int fd) {
  const int result = real("close", fd);
  return is_one_of(interrupted_closes) ? -1 : result;
}
}

namespace largo {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class AtomicFile : public testing::Test {
 protected:
  AtomicFile() {
    std::string name = testing::TempDir() + "largo-atomic-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~AtomicFile() override { fs::remove_all(folder_); }

  size_t files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  std::string text_of(const fs::path& path) const {
    const std::vector<std::byte> bytes = read_file(path, 1 << 20);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  template <class Action>
  void expect_error(ExitCode code, const std::string& words, Action action) const {
    try {
      action();
      ADD_FAILURE() << "no error; expected: " << words;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  }

  fs::path folder_;
};

TEST_F(AtomicFile, WritesChunksInOrderAndReplacesWhatWasThere) {
  const fs::path path = folder_ / "a.txt";
  write_file_atomically(path, "a much longer text than the next");
  const std::string hello = "hello ", world = "world";
  const std::vector<std::span<const std::byte>> chunks = {
      std::as_bytes(std::span(hello)), {}, std::as_bytes(std::span(world))};
  write_file_atomically(path, chunks);
  EXPECT_EQ(text_of(path), "hello world");
  EXPECT_EQ(files(), 1U);  // no temporary file stays
  write_file_atomically(path, "");
  EXPECT_EQ(text_of(path), "");
}

TEST_F(AtomicFile, FailureNamesPathAndReasonAndLeavesNothing) {
  expect_error(ExitCode::kIo, "No such file or directory",
               [&] { write_file_atomically(folder_ / "none" / "a.txt", "x"); });
  fs::create_directory(folder_ / "taken");
  write_file_atomically(folder_ / "taken" / "inside", "x");
  // The rename is what fails, after the temporary file was written.
  expect_error(ExitCode::kIo, (folder_ / "taken").string(),
               [&] { write_file_atomically(folder_ / "taken", "x"); });
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFile, FullDiskIsAnIoError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  // A link of the temporary file's name leads the write to the device that is always full.
  const fs::path path = folder_ / "a.txt";
  fs::create_symlink("/dev/full", path.string() + concat(".tmp-", ::getpid()));
  write_file_atomically(folder_ / "other", "still works");
  expect_error(ExitCode::kIo, "No space left on device", [&] { write_file_atomically(path, "x"); });
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicFile, SignalsDoNotFailIt) {
  interrupted_fsyncs = 2;
  write_file_atomically(folder_ / "a.txt", "first");
  EXPECT_EQ(text_of(folder_ / "a.txt"), "first");
  interrupted_closes = 1;
  write_file_atomically(folder_ / "a.txt", "second");
  EXPECT_EQ(text_of(folder_ / "a.txt"), "second");
  interrupted_fsyncs += 2;
  sync_directory(folder_);
  EXPECT_EQ(interrupted_fsyncs + interrupted_closes, 0);
}

TEST_F(AtomicFile, ReadingRefusesWhatIsNotThereOrTooLarge) {
  expect_error(ExitCode::kInputMissing, "none", [&] { read_file(folder_ / "none", 10); });
  expect_error(ExitCode::kBadData, "not a regular file", [&] { read_file(folder_, 10); });
  write_file_atomically(folder_ / "eleven", "hello world");
  EXPECT_EQ(read_file(folder_ / "eleven", 11).size(), 11U);
  expect_error(ExitCode::kBadData, "has 11 bytes; at most 10",
               [&] { read_file(folder_ / "eleven", 10); });
}

TEST_F(AtomicFile, MakesDirectoriesButNotBelowAFile) {
  make_directories(folder_ / "a" / "b");
  make_directories(folder_ / "a" / "b");
  EXPECT_TRUE(fs::is_directory(folder_ / "a" / "b"));
  sync_directory(folder_ / "a");
  write_file_atomically(folder_ / "file", "x");
  expect_error(ExitCode::kIo, "Not a directory", [&] { make_directories(folder_ / "file" / "c"); });
  expect_error(ExitCode::kIo, "none", [&] { sync_directory(folder_ / "none"); });
}

}  // namespace
}  // namespace largo
