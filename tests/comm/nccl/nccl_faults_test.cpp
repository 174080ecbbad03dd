// Ranks that disagree, stay away, fail or die in the middle of the work: nothing hangs, and the
// error says who and what.
#include <gmock/gmock.h>

#include "comm/base/error.h"
#include "tests/comm/nccl/training_steps.h"

namespace largo::test {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

class NcclFaults : public EmulatedDevice {
 protected:
  using Configure = std::function<void(int rank, TrainingSteps&)>;

  // Every rank trains; what each threw. The buffers outlive the kernels, as on a GPU they must.
  std::vector<std::string> train(const World& world, const Configure& configure) {
    return run(world.ranks, [&](int rank) {
      TrainingSteps training(world.ranks, rank, wrong_);
      configure(rank, training);
      ComputeStream compute;
      struct Ended {
        std::atomic<int>& count;
        ComputeStream& compute;
        ~Ended() {
          ++count;
          compute.synchronize();
        }
      } ended{ended_, compute};
      const auto core = world.core(rank);
      training.run(*core, compute, 3);
      core->finish(60);
    });
  }

  std::vector<std::string> behind_a_stuck_kernel(
      const World& world, const std::function<void(int rank, comm::NcclCore&)>& meanwhile);

  // A rank that does nothing more until `others` have ended.
  void wait_for_end_of(int others) const {
    while (ended_ < others) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  std::atomic<int> wrong_{0};
  std::atomic<int> ended_{0};
};

TEST_F(NcclFaults, OtherOrderOfUnequalBucketsIsNamed) {
  const auto said = train(World(4), [](int rank, TrainingSteps& training) {
    if (rank == 1) std::swap(training.order[20], training.order[21]);
  });
  EXPECT_THAT(said, Each(AllOf(HasSubstr("collective 20 is AllReduce"), HasSubstr("count 220"),
                               HasSubstr("count 100"), HasSubstr("on rank 1"))));
}

// As on a GPU, where nobody compares: the ranks wait for each other, and the monitor ends it.
TEST_F(NcclFaults, OtherOrderOfUnequalBucketsDoesNotHang) {
  emulated::set_behaviour({.detect_mismatch = false});
  World world(4);
  world.timeout_s = 1;
  const auto said = train(world, [](int rank, TrainingSteps& training) {
    if (rank == 1) std::swap(training.order[20], training.order[21]);
  });
  EXPECT_THAT(said, Each(HasSubstr("not complete after 1 s; last complete: #20")));
  EXPECT_THAT(said, Each(HasSubstr("; 4 ranks have enqueued it")));
  EXPECT_THAT(said[0], HasSubstr("rank 0: #21 all_reduce of 880 bytes"));
  EXPECT_THAT(said[1], HasSubstr("rank 1: #21 all_reduce of 400 bytes"));
}

// Nothing in NCCL can tell: only the sums are wrong.
TEST_F(NcclFaults, OtherOrderOfEqualBucketsGivesWrongSums) {
  const auto said = train(World(4), [](int rank, TrainingSteps& training) {
    if (rank == 1) std::swap(training.order[21], training.order[23]);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
  EXPECT_EQ(wrong_, 4 * 3 * 2);  // on every rank, in every step, both buckets
}

TEST_F(NcclFaults, OtherCountIsNamed) {
  const auto said = train(World(2), [](int rank, TrainingSteps& training) {
    if (rank == 1) training.sizes[7] = 99;
  });
  EXPECT_THAT(
      said, Each(AllOf(HasSubstr("collective 7 is"), HasSubstr("count 100"), HasSubstr("count 99"),
                       HasSubstr("on rank 0"), HasSubstr("on rank 1"))));
}

TEST_F(NcclFaults, OtherCountDoesNotHang) {
  emulated::set_behaviour({.detect_mismatch = false});
  World world(2);
  world.timeout_s = 1;
  const auto said = train(world, [](int rank, TrainingSteps& training) {
    if (rank == 1) training.sizes[7] = 99;
  });
  EXPECT_THAT(said[0], HasSubstr("rank 0: #8 all_reduce of 400 bytes not complete after 1 s"));
  EXPECT_THAT(said[1], HasSubstr("rank 1: #8 all_reduce of 396 bytes not complete after 1 s"));
}

TEST_F(NcclFaults, RankThatStopsIsNamed) {
  World world(4);
  world.timeout_s = 1;
  const auto said = train(world, [&](int rank, TrainingSteps& training) {
    if (rank != 3) return;
    training.before = [&](int, int k) {
      if (k < 12) return true;
      wait_for_end_of(3);
      fail(ExitCode::kInternal, "stopped by itself");
    };
  });
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(said[rank], concat("rank ", rank,
                                 ": #13 all_reduce of 848 bytes not complete after 1 s; last "
                                 "complete: #12; own compute stream has reached it; 3 ranks have "
                                 "enqueued it; rank 3 is BEHIND (#12)"));
  }
  EXPECT_EQ(said[3], "stopped by itself");
}

// The rank's host has called, its GPU is busy with something else: that is a compute stream which
// has not come to the collective, and no rank is behind.
// One reduction that cannot complete, because a kernel on rank 1's compute stream does not end;
// `meanwhile` runs on each rank until it throws.
std::vector<std::string> NcclFaults::behind_a_stuck_kernel(
    const World& world, const std::function<void(int rank, comm::NcclCore&)>& meanwhile) {
  std::atomic<bool> stuck{true};
  return run(2, [&](int rank) {
    std::vector<float> data(8);
    ComputeStream compute;
    try {
      const auto core = world.core(rank);
      if (rank == 1) {
        compute.launch([&] {
          while (stuck) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        });
      }
      core->all_reduce(data.data(), 8, ncclFloat32, compute);
      for (;;) meanwhile(rank, *core);
    } catch (...) {
      if (++ended_ == 2) stuck = false;
      wait_for_end_of(2);
      compute.synchronize();
      throw;
    }
  });
}

// The rank's host has called, its GPU is busy with something else: that is a compute stream which
// has not come to the collective, and no rank is behind.
TEST_F(NcclFaults, StuckKernelIsToldFromStuckNetwork) {
  World world(2);
  world.timeout_s = 1;
  const auto said = behind_a_stuck_kernel(
      world, [](int, comm::NcclCore& core) { core.stream().synchronize(60); });
  EXPECT_THAT(said, Each(HasSubstr("; 2 ranks have enqueued it")));
  EXPECT_THAT(said[0], HasSubstr("own compute stream has reached it"));
  EXPECT_THAT(said[1], HasSubstr("own compute stream has not reached it"));
}

TEST_F(NcclFaults, RankThatNeverComesIsNamed) {
  World world(4);
  world.init_timeout_s = 1;
  const auto said = run(4, [&](int rank) {
    if (rank != 3) world.core(rank);
  });
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(said[rank], concat("rank ", rank,
                                 ": set-up of an NCCL communicator of 4 ranks not complete after "
                                 "1 s; 3 ranks have begun; rank 3 is ABSENT"));
  }
}

TEST_F(NcclFaults, ErrorDuringSetUpIsNamed) {
  const World world(2);
  emulated::inject_error(world.id, -1, ncclSystemError);
  const auto said = run(2, [&](int rank) { world.core(rank); });
  EXPECT_THAT(said, Each(AllOf(HasSubstr(": set-up of an NCCL communicator of 2 ranks: "),
                               HasSubstr("emulated NCCL error"))));
}

// Time counts at the head of the line: many collectives together may take longer than the timeout.
TEST_F(NcclFaults, LongLineIsNoFault) {
  emulated::set_behaviour({.collective_time = std::chrono::milliseconds(40)});
  World world(2);
  world.timeout_s = 1;
  const auto said = run(2, [&](int rank) {
    const auto core = world.core(rank);
    ComputeStream compute;
    std::vector<float> data(8);
    for (int i = 0; i < 50; ++i) core->all_reduce(data.data(), 8, ncclFloat32, compute);
    core->finish(60);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
}

// An error that NCCL notices by itself, on every rank: each one's next call throws it, whatever the
// call, and so does every later one.
TEST_F(NcclFaults, AsynchronousErrorIsThrownByEveryLaterCall) {
  const World world(2);
  std::atomic<int> ready{0};
  const auto said = run(2, [&](int rank) {
    std::vector<float> data(8);
    ComputeStream compute;
    const auto core = world.core(rank);
    const auto ticket = core->all_reduce(data.data(), 8, ncclFloat32, compute);
    core->stream().synchronize(60);
    if (++ready == 2) emulated::inject_error(world.id, -1, ncclRemoteError);
    const auto error_of = [](const std::function<void()>& call) -> std::string {
      try {
        call();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kUnavailable);
        return error.what();
      }
      return "";
    };
    std::string first;
    while (first.empty()) first = error_of([&] { core->stream().check(); });
    EXPECT_EQ(first, concat("rank ", rank,
                            ": no collective under way: asynchronous error: remote process exited "
                            "or there was a network error"));
    EXPECT_EQ(error_of([&] { core->all_reduce(data.data(), 8, ncclFloat32, compute); }), first);
    EXPECT_EQ(error_of([&] { core->broadcast(data.data(), 8, ncclFloat32, 0, compute); }), first);
    EXPECT_EQ(error_of([&] { core->wait(ticket, compute); }), first);
    EXPECT_EQ(error_of([&] { core->stream().synchronize(60); }), first);
    EXPECT_EQ(error_of([&] {
                comm::NcclCore(core->shared_stream(), comm::NcclCore::make_id(), rank, 2, 60);
              }),
              first);
    EXPECT_EQ(error_of([&] { core->finish(60); }), first);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
}

TEST_F(NcclFaults, AsynchronousErrorNamesTheCollectiveUnderWay) {
  const World world(2);
  std::atomic<int> issued{0};
  const auto said = behind_a_stuck_kernel(world, [&](int, comm::NcclCore& core) {
    if (++issued == 2) emulated::inject_error(world.id, -1, ncclRemoteError);
    for (;;) core.stream().check();
  });
  EXPECT_THAT(said,
              Each(HasSubstr(": #1 all_reduce of 32 bytes: asynchronous error: remote process "
                             "exited or there was a network error")));
}

// Only one rank sees the error and gives up: the other one does not wait for it for ever.
TEST_F(NcclFaults, ErrorOfOneRankEndsAll) {
  World world(2);
  world.timeout_s = 1;
  const auto said = train(world, [&](int rank, TrainingSteps& training) {
    training.before = [&, rank](int step, int k) {
      if (rank == 1 && step == 1 && k == 30) emulated::inject_error(world.id, 1, ncclSystemError);
      return true;
    };
  });
  EXPECT_THAT(said[0], HasSubstr("not complete after 1 s"));
  EXPECT_THAT(said[1], HasSubstr("emulated NCCL error"));
}

TEST_F(NcclFaults, UnwindingWithWorkUnderWayWaitsForNobody) {
  const World world(2);
  const auto said = train(world, [&](int rank, TrainingSteps& training) {
    training.before = [&, rank](int step, int k) {
      if (step < 1 || k < 25) return true;
      if (rank == 0) fail(ExitCode::kInternal, "something else");
      wait_for_end_of(1);  // rank 0 has gone, with collectives of ours under way
      fail(ExitCode::kInternal, "another thing");
    };
  });
  EXPECT_THAT(said, testing::ElementsAre("something else", "another thing"));
}

TEST_F(NcclFaults, AbortThatHangsIsLeftAlone) {
  emulated::set_behaviour({.abort_hangs = true});
  World world(2);
  world.timeout_s = 0.2;
  world.abort_grace_s = 0.1;
  std::vector<float> data(8);
  std::atomic<int> through{0};
  auto compute = std::make_unique<ComputeStream>();
  const auto said = run(2, [&](int rank) {
    const auto core = world.core(rank);
    ++through;
    while (through < 2) std::this_thread::yield();
    if (rank == 1) return;
    core->all_reduce(data.data(), 8, ncclFloat32, *compute);
    core->stream().synchronize(60);
  });
  EXPECT_THAT(said[0], HasSubstr("rank 1 is BEHIND (#0)"));
  emulated::set_behaviour({});
  compute.reset();
  // Left to the end of the process: both ranks' streams, rank 0's two events.
  while (emulated::live_objects() > 4) std::this_thread::yield();
  EXPECT_EQ(emulated::live_objects(), 4);
  emulated::destroy_leaked();
}

}  // namespace
}  // namespace largo::test
