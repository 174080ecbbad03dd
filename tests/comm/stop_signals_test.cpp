#include "comm/stop_signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "comm/base/error.h"

namespace largo::comm {
namespace {

constexpr int kSurvived = 7;

// How a child ends that does this with a StopSignals of its own: its exit code.
int exit_code_of(const std::function<void(StopSignals&)>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    StopSignals signals;
    work(signals);
    ::_exit(kSurvived);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST(StopSignals, TheFirstIsKept) {
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) {
    StopSignals signals;
    signals.defer();
    EXPECT_EQ(signals.received(), 0);
    ::raise(signal);
    EXPECT_EQ(signals.received(), signal);
    EXPECT_STRNE(name_of_stop_signal(signal), "a signal");
  }
}

TEST(StopSignals, BeforeTrainingTheProcessEndsToBeStartedAgain) {
  EXPECT_EQ(exit_code_of([](StopSignals&) { ::raise(SIGUSR1); }),
            static_cast<int>(ExitCode::kStopped));
  EXPECT_EQ(exit_code_of([](StopSignals&) { ::raise(SIGTERM); }), 128 + SIGTERM);
}

TEST(StopSignals, ASecondOneEndsTheProcess) {
  EXPECT_EQ(exit_code_of([](StopSignals& signals) {
              signals.defer();
              ::raise(SIGUSR1);
              ::usleep(1'100'000);
              ::raise(SIGTERM);
            }),
            128 + SIGTERM);
}

// As a launcher does that passes it on and lies in the same process group.
TEST(StopSignals, TheSameWishTwiceIsOne) {
  EXPECT_EQ(exit_code_of([](StopSignals& signals) {
              signals.defer();
              ::raise(SIGUSR1);
              ::raise(SIGTERM);
              if (signals.received() != SIGUSR1) ::_exit(1);
            }),
            kSurvived);
}

TEST(StopSignals, NothingDisturbsTheWayOut) {
  EXPECT_EQ(exit_code_of([](StopSignals& signals) {
              signals.defer();
              ::raise(SIGUSR1);
              ::usleep(1'100'000);
              signals.ignore();
              ::raise(SIGTERM);
            }),
            kSurvived);
}

TEST(StopSignals, WhatWasIgnoredStaysIgnored) {
  ::signal(SIGINT, SIG_IGN);
  EXPECT_EQ(exit_code_of([](StopSignals&) { ::raise(SIGINT); }), kSurvived);
  ::signal(SIGINT, SIG_DFL);
}

TEST(StopSignals, HandlersAreAsBeforeInTheEnd) {
  { const StopSignals signals; }
  struct sigaction now {};
  ASSERT_EQ(::sigaction(SIGUSR1, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
  EXPECT_DEATH(::raise(SIGUSR1), "");
}

}  // namespace
}  // namespace largo::comm
