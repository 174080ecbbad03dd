#include "comm/thread_communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "tests/comm/communicator_contract.h"

namespace largo::comm {
namespace {

TEST(SelfCommunicator, KeepsTheContract) {
  SelfCommunicator self;
  EXPECT_NO_THROW(test::check_contract(self));
}

TEST(ThreadCommunicator, KeepsTheContract) {
  for (const bool asynchronous : {false, true}) {
    for (const int ranks : {1, 2, 3, 4, 7}) {
      EXPECT_NO_THROW(spawn_ranks(ranks, test::check_contract, asynchronous)) << ranks;
    }
  }
}

TEST(ThreadCommunicator, RethrowsTheFirstFailureAndWakesTheOthers) {
  std::atomic<int> woken = 0;
  const auto body = [&](Communicator& world) {
    if (world.rank() == 2) throw std::runtime_error("rank 2 gives up");
    try {
      world.barrier();
    } catch (const Error&) {
      ++woken;
      throw;
    }
  };
  for (const bool asynchronous : {false, true}) {
    woken = 0;
    try {
      spawn_ranks(4, body, asynchronous);
      FAIL() << "did not throw";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "rank 2 gives up");
    }
    EXPECT_EQ(woken, 3);
  }
}

TEST(ThreadCommunicator, ReducesBesideTheCaller) {
  // The call returns although the other rank has not come yet.
  std::atomic<bool> returned = false;
  spawn_ranks(2, [&](Communicator& world) {
    at::Tensor value = at::ones({3});
    if (world.rank() == 0) {
      const Work work = world.all_reduce(value);
      returned = true;
      work.wait();
    } else {
      while (!returned) std::this_thread::yield();
      world.all_reduce(value).wait();
    }
    if (!value.eq(2).all().item<bool>()) throw std::runtime_error("wrong sum");
  });
}

}  // namespace
}  // namespace largo::comm
