#include "comm/start_guard.h"

#include <gtest/gtest.h>

#include <future>

namespace largo::comm {
namespace {

TEST(StartGuard, EndsWhatTakesTooLong) {
  std::promise<void> ended;
  const StartGuard guard(0.05, [&] { ended.set_value(); });
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

TEST(StartGuard, LeavesWhatEndsInTime) {
  bool ended = false;
  {
    const StartGuard guard(600, [&] { ended = true; });
  }
  EXPECT_FALSE(ended);
}

}  // namespace
}  // namespace largo::comm
