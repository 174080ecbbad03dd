#include "comm/shared_segment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "comm/base/error.h"

namespace largo::comm {
namespace {

constexpr int64_t kBytes = 64 << 20;

// The exit code of `body` in a process of its own; 256 + the number of the signal that ended it.
int in_process(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body() ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUnavailable);
    return error.what();
  }
  return "no refusal";
}

TEST(SharedSegment, IsTheSameMemoryInAnotherProcess) {
  const SharedSegment segment = SharedSegment::make(kBytes);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(segment.data()) % (2 << 20), 0u);
  EXPECT_EQ(in_process([&] {
              SharedSegment other = SharedSegment::open(segment.key());
              std::strcpy(reinterpret_cast<char*>(other.data() + kBytes - 8), "hello");
              return other.bytes() == kBytes && other.data() != segment.data();
            }),
            0);
  EXPECT_STREQ(reinterpret_cast<char*>(segment.data() + kBytes - 8), "hello");
}

TEST(SharedSegment, OutlivesItsMakerAndClosesItsDoor) {
  SharedSegment segment = SharedSegment::make(kBytes);
  segment.data()[100] = std::byte(5);
  const SegmentKey key = segment.key();
  const SharedSegment other = SharedSegment::open(key);
  segment.close_door();
  EXPECT_THAT(refusal([&] { SharedSegment::open(key); }), testing::HasSubstr("/proc/"));
  { const SharedSegment gone = std::move(segment); }
  EXPECT_EQ(other.data()[100], std::byte(5));
}

TEST(SharedSegment, TakesNoOtherFileForIt) {
  const SharedSegment segment = SharedSegment::make(kBytes);
  SegmentKey wrong = segment.key();
  wrong.signature[1] ^= 1;
  EXPECT_THAT(refusal([&] { SharedSegment::open(wrong); }), testing::HasSubstr("is not the other"));
  wrong = segment.key();
  wrong.descriptor = 0;
  EXPECT_NE(refusal([&] { SharedSegment::open(wrong); }), "no refusal");
}

// Under limits it refuses, and no signal ends the process.
TEST(SharedSegment, SaysWhatLimitItMeets) {
  const auto refuses_under = [](auto resource, const std::string& word) {
    return in_process([&] {
      const rlimit limit{1 << 20, 1 << 20};
      if (setrlimit(resource, &limit) != 0) return false;
      return refusal([] { SharedSegment::make(kBytes); }).find(word) != std::string::npos;
    });
  };
  EXPECT_EQ(refuses_under(RLIMIT_FSIZE, "ulimit -f"), 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which need address space
  EXPECT_EQ(refuses_under(RLIMIT_AS, "address space"), 0);
#endif
}

// Pages that are there, in this process's mapping of the segment.
int64_t resident_kb(const SharedSegment& segment) {
  std::ifstream maps("/proc/self/smaps");
  std::ostringstream begin;
  begin << std::hex << reinterpret_cast<uintptr_t>(segment.data()) << '-';
  std::string line;
  bool inside = false;
  int64_t total = 0;
  while (std::getline(maps, line)) {
    if (line.find('-') < line.find(':') && line.find(' ') != std::string::npos &&
        std::isxdigit(static_cast<unsigned char>(line[0])) &&
        line.find("kB") == std::string::npos) {
      inside = line.starts_with(begin.str());
    }
    if (inside && line.starts_with("Rss:")) total += std::stoll(line.substr(4));
  }
  return total;
}

TEST(SegmentBlocks, AreZerosApartFromOneAnotherAndGiveMemoryBack) {
  auto segment = std::make_shared<SharedSegment>(SharedSegment::make(kBytes));
  SegmentBlocks blocks(segment, 4096);
  std::mt19937 random(1);
  struct Held {
    std::shared_ptr<std::byte> data;
    int64_t bytes;
    std::byte mark;
  };
  std::vector<Held> held;
  for (int i = 0; i < 400; ++i) {
    if (held.size() > 12) {
      const size_t k = random() % held.size();
      const Held& gone = held[k];
      EXPECT_EQ(std::count(gone.data.get(), gone.data.get() + gone.bytes, gone.mark), gone.bytes);
      held.erase(held.begin() + static_cast<int64_t>(k));
    }
    const int64_t bytes = i % 20 == 0 ? (3 << 20) + 5 : static_cast<int64_t>(random() % 20000);
    auto data = blocks.allocate(bytes);
    ASSERT_NE(data, nullptr);
    EXPECT_GE(data.get(), segment->data() + 4096);
    EXPECT_LE(data.get() + bytes, segment->data() + kBytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data.get()) % (bytes >= 2 << 20 ? 2 << 20 : 64), 0u);
    EXPECT_EQ(std::count(data.get(), data.get() + bytes, std::byte(0)), bytes);
    std::memset(data.get(), i % 255 + 1, static_cast<size_t>(bytes));
    held.push_back({std::move(data), bytes, std::byte(i % 255 + 1)});
  }
  EXPECT_EQ(blocks.allocate(kBytes), nullptr);
  held.clear();
  EXPECT_LT(resident_kb(*segment), 200);
  EXPECT_NE(blocks.allocate(kBytes - (2 << 20)), nullptr);
}

TEST(SegmentBlocks, KeepTheMemoryAlive) {
  std::shared_ptr<std::byte> block;
  {
    auto segment = std::make_shared<SharedSegment>(SharedSegment::make(kBytes));
    block = SegmentBlocks(segment, 64).allocate(1000);
  }
  std::memset(block.get(), 1, 1000);
  EXPECT_EQ(block.get()[999], std::byte(1));
}

}  // namespace
}  // namespace largo::comm
