#include "comm/nccl/nccl_core.h"

#include <gmock/gmock.h>

#include "tests/comm/nccl/training_steps.h"

namespace largo::test {
namespace {

using testing::Each;
using testing::IsEmpty;

class NcclCore : public EmulatedDevice, public testing::WithParamInterface<int> {};

INSTANTIATE_TEST_SUITE_P(Ranks, NcclCore, testing::Values(2, 4), testing::PrintToStringParamName());

void train(const std::function<void(TrainingSteps&)>& configure, comm::NcclCore& core, int steps,
           std::atomic<int>& wrong) {
  TrainingSteps training(core.size(), core.rank(), wrong);
  configure(training);
  ComputeStream compute;
  training.run(core, compute, steps);
  core.finish(60);
  compute.synchronize();  // the kernels use the buffers of `training`
}

TEST_P(NcclCore, SumsBucketsWhileOthersAreFilled) {
  const World world(GetParam());
  std::atomic<int> wrong{0};
  const auto said = run(world.ranks, [&](int rank) {
    const auto core = world.core(rank);
    train([](TrainingSteps&) {}, *core, 100, wrong);
    EXPECT_EQ(core->stream().completed(), 100u * TrainingSteps::kBuckets);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
  EXPECT_EQ(wrong, 0);
}

TEST_P(NcclCore, SumsGroupedBuckets) {
  const World world(GetParam());
  std::atomic<int> wrong{0};
  const auto said = run(world.ranks, [&](int rank) {
    const auto core = world.core(rank);
    train([](TrainingSteps& training) { training.grouped = true; }, *core, 100, wrong);
    EXPECT_EQ(core->stream().completed(), 100u);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
  EXPECT_EQ(wrong, 0);
}

TEST_P(NcclCore, BroadcastsAndGathersInTurn) {
  const World world(GetParam());
  const int n = world.ranks;
  std::atomic<int> wrong{0};
  const auto said = run(n, [&](int rank) {
    const auto core = world.core(rank);
    ComputeStream compute;
    constexpr size_t kCount = 64;
    std::vector<double> mine(kCount), all(kCount * n);
    for (int step = 0; step < 100; ++step) {
      const int root = step % n;
      compute.launch([&, step] { mine.assign(64, rank * 1000 + step); });
      core->wait(core->broadcast(mine.data(), 64, ncclFloat64, root, compute), compute);
      compute.launch([&, step, root] {
        for (double& x : mine) wrong += x != root * 1000 + step;
        mine.assign(64, mine[0] + rank);
      });
      core->wait(
          core->all_gather(mine.data(), all.data(), kCount * sizeof(double), ncclUint8, compute),
          compute);
      compute.launch([&, step, root] {
        for (int r = 0; r < n; ++r) {
          for (size_t i = 0; i < kCount; ++i)
            wrong += all[r * kCount + i] != root * 1000 + step + r;
        }
      });
    }
    core->finish(60);
    compute.synchronize();
  });
  EXPECT_THAT(said, Each(IsEmpty()));
  EXPECT_EQ(wrong, 0);
}

// World and halves of it on one stream per rank, in turn, as a synchronized normalization and the
// buckets are.
TEST_F(EmulatedDevice, GroupsShareAStream) {
  const World world(4);
  const ncclUniqueId ids[] = {comm::NcclCore::make_id(), comm::NcclCore::make_id()};
  std::atomic<int> wrong{0};
  const auto said = run(4, [&](int rank) {
    const auto all = world.core(rank);
    comm::NcclCore half(all->shared_stream(), ids[rank / 2], rank % 2, 2, 60);
    ComputeStream compute;
    std::vector<float> a(100), b(70);
    for (int step = 0; step < 200; ++step) {
      compute.launch([&] {
        a.assign(100, 1);
        b.assign(70, rank);
      });
      const auto ticket = all->all_reduce(a.data(), a.size(), ncclFloat32, compute);
      half.wait(half.all_reduce(b.data(), b.size(), ncclFloat32, compute), compute);
      compute.launch([&] { wrong += b[69] != (rank < 2 ? 1 : 5); });
      all->wait(ticket, compute);
      compute.launch([&] { wrong += a[99] != 4; });
    }
    half.finish(60);
    all->finish(60);
    EXPECT_EQ(all->stream().completed(), 400u);  // one line
    compute.synchronize();
  });
  EXPECT_THAT(said, Each(IsEmpty()));
  EXPECT_EQ(wrong, 0);
}

// Or nothing would overlap: what waits for one sum runs while a later one is still under way.
TEST_F(EmulatedDevice, WaitsForItsOwnCollectiveOnly) {
  World world(2);
  world.timeout_s = 10;
  std::atomic<bool> waiting{false}, passed{false};
  const auto said = run(2, [&](int rank) {
    std::vector<float> a(8), b(8);
    ComputeStream compute;
    const auto core = world.core(rank);
    const auto until = [&](const std::atomic<bool>& flag) {
      while (!flag) core->stream().check();
    };
    if (rank == 0) {
      const auto first = core->all_reduce(a.data(), 8, ncclFloat32, compute);
      core->all_reduce(b.data(), 8, ncclFloat32, compute);
      core->wait(first, compute);
      compute.launch([&] { passed = true; });
      waiting = true;
      until(passed);
    } else {
      until(waiting);
      core->all_reduce(a.data(), 8, ncclFloat32, compute);
      until(passed);
      core->all_reduce(b.data(), 8, ncclFloat32, compute);
    }
    core->finish(60);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
}

TEST_F(EmulatedDevice, EventsAreUsedAgain) {
  const World world(2);
  const auto said = run(2, [&](int rank) {
    std::vector<float> data(8);
    ComputeStream compute;
    const auto core = world.core(rank);
    for (int i = 0; i < 100; ++i) {
      core->all_reduce(data.data(), 8, ncclFloat32, compute);
      core->stream().synchronize(60);
    }
    // Of both ranks: a communicator, two streams and two events.
    EXPECT_LE(emulated::live_objects(), 10);
    core->finish(60);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
}

// The stream that PyTorch, say, has made is used and left alone.
TEST_F(EmulatedDevice, BorrowsAStream) {
  const World world(2);
  std::atomic<int> wrong{0};
  const auto said = run(2, [&](int rank) {
    ComputeStream communication;
    {
      auto stream = std::make_shared<comm::CommStream>(comm::CommStream::Options{
          .rank = rank, .world = 2, .stream = communication, .board = world.board});
      comm::NcclCore core(stream, world.id, rank, 2, 60);
      train([](TrainingSteps&) {}, core, 2, wrong);
    }
    communication.launch([] {});
    communication.synchronize();
  });
  EXPECT_THAT(said, Each(IsEmpty()));
  EXPECT_EQ(wrong, 0);
}

TEST_F(EmulatedDevice, RecordsWhatIsUnderWay) {
  const World world(2);
  const auto said = run(2, [&](int rank) {
    const auto record = std::make_shared<comm::FlightRecord>(world.board, rank);
    const auto stream = std::make_shared<comm::CommStream>(comm::CommStream::Options{
        .rank = rank,
        .world = 2,
        .poll = std::chrono::milliseconds(2),
        .board = world.board,
        .line = std::make_shared<comm::FlightRecord::Line>(record, "NCCL", std::vector{0, 1})});
    comm::NcclCore core(stream, world.id, rank, 2, 60);
    std::vector<float> first(8), second(16);
    ComputeStream compute;
    std::atomic<bool> stuck = true;
    compute.launch([&] {
      while (stuck) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    {
      const comm::CallName name("bucket", 4);
      core.all_reduce(first.data(), first.size(), ncclFloat32, compute);
    }
    core.all_reduce(second.data(), second.size(), ncclFloat32, compute);
    EXPECT_EQ(record->waiting().size(), 1u);
    const auto waiting = record->waiting();
    if (!waiting.empty()) {
      EXPECT_EQ(comm::to_string(waiting.front().call), "all_reduce of 32 bytes (bucket 4)");
    }
    stuck = false;
    stream->synchronize(60);
    EXPECT_TRUE(record->waiting().empty());
    EXPECT_NE(record->dump().find("#2: all_reduce of 64 bytes, took"), std::string::npos);
    core.finish(60);
  });
  EXPECT_THAT(said, Each(IsEmpty()));
}

}  // namespace
}  // namespace largo::test
