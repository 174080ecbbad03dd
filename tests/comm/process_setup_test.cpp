#include "comm/base/process_setup.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>

namespace largo {
namespace {

// A sanitizer's malloc takes no settings.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kTakesSettings = false;
#else
constexpr bool kTakesSettings = true;
#endif

// What `body` returns in a process of its own, 0 to 250; malloc is set up once in each.
int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// Of 8 rounds of 40 MiB that are written and freed; a round's pages number 10240 of 4 KiB.
int rounds_with_faults() {
  constexpr size_t kBytes = size_t{40} << 20;
  int rounds = 0;
  for (int round = 0; round < 8; ++round) {
    const int64_t before = page_faults();
    void* const memory = std::malloc(kBytes);
    std::memset(memory, round, kBytes);
    __asm__ volatile("" : : "r"(memory) : "memory");
    std::free(memory);
    if (page_faults() - before > 1000) ++rounds;
  }
  return rounds;
}

TEST(ProcessSetup, TunedMallocKeepsWhatIsFreed) {
  const auto rounds = [](MallocWish malloc) {
    return in_child([malloc] {
      set_up_memory({.malloc = malloc, .huge_pages = HugePagesWish::kOff}, true);
      return rounds_with_faults();
    });
  };
  EXPECT_EQ(rounds(MallocWish::kDefault), 8);
  EXPECT_EQ(rounds(MallocWish::kTuned) <= 1, kTakesSettings);
}

TEST(ProcessSetup, SaysWhatWasDone) {
  const auto malloc_is = [](const ProcessOptions& options, const char* text) {
    return in_child([&] { return set_up_memory(options, true).malloc == text ? 0 : 1; });
  };
  EXPECT_EQ(malloc_is({.malloc = MallocWish::kDefault}, "default"), 0);
  if (kTakesSettings) {
    EXPECT_EQ(malloc_is({.malloc = MallocWish::kTuned}, "tuned"), 0);
  }
}

TEST(ProcessSetup, HugePagesAreForMemoryThatStays) {
  EXPECT_TRUE(check(ProcessOptions{}).empty());
  EXPECT_TRUE(check(ProcessOptions{.malloc = MallocWish::kDefault}).empty());
  EXPECT_EQ(check(ProcessOptions{.malloc = MallocWish::kDefault, .huge_pages = HugePagesWish::kOn})
                .size(),
            1U);
}

TEST(ProcessSetup, ReadsTheKernelsSetting) {
  EXPECT_EQ(bracketed("always [madvise] never\n"), "madvise");
  EXPECT_EQ(bracketed("always madvise [never]\n"), "never");
  EXPECT_EQ(bracketed(""), "");
  EXPECT_EQ(bracketed("]["), "");
}

}  // namespace
}  // namespace largo
