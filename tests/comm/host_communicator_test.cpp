// The host's communicator against plain MPI, on as many ranks as the launcher started.
#include "comm/host_communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/comm/communicator_contract.h"
#include "tests/support/mpi_main.h"

namespace largo::comm {
namespace {

using testing::HasSubstr;

int rank() { return test::mpi_session().rank(); }
int ranks() { return test::mpi_session().size(); }

std::unique_ptr<Communicator> make(HostSetup setup) {
  if (test::mpi_session().thread_level() != ThreadLevel::kMultiple) setup.asynchronous = false;
  MPI_Comm copy = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
  return make_host_communicator(MpiComm(copy), setup);
}

// Small integers, whose sums over eight ranks every type holds exactly.
at::Tensor numbers(int64_t elements, at::ScalarType dtype, int64_t salt) {
  return (at::arange(elements, at::kLong) * 7 + salt).remainder(16).add_(rank()).to(dtype);
}

enum class Where { kAllocated, kElsewhere, kAllocatedOnOddRanks, kAtOddPlaces };

at::Tensor memory(Communicator& world, int64_t elements, at::ScalarType dtype, Where where) {
  switch (where) {
    case Where::kAllocated:
      return world.allocate(elements, dtype);
    case Where::kElsewhere:
      return at::empty({elements}, dtype);
    case Where::kAllocatedOnOddRanks:
      return rank() % 2 == 1 ? world.allocate(elements, dtype) : at::empty({elements}, dtype);
    case Where::kAtOddPlaces:
      return world.allocate(elements + 100, dtype).narrow(0, 3 * rank() + 1, elements);
  }
  return {};
}

// The number of results that differ from plain MPI's.
int wrong_sums(Communicator& world, Communicator& plain, const std::vector<int64_t>& sizes,
               const std::vector<at::ScalarType>& dtypes, const std::vector<Where>& places) {
  int wrong = 0;
  int64_t salt = 0;
  for (const int64_t elements : sizes) {
    for (const at::ScalarType dtype : dtypes) {
      for (const Where where : places) {
        for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax}) {
          const at::Tensor values = numbers(elements, dtype, ++salt);
          const at::Tensor mine = memory(world, elements, dtype, where);
          mine.copy_(values);
          world.all_reduce(mine, op).wait();
          plain.all_reduce(values, op).wait();
          wrong += !at::equal(mine, values);
        }
      }
    }
  }
  return wrong;
}

const std::vector<at::ScalarType> kDtypes = {at::kFloat, at::kDouble, at::kLong, at::kBFloat16};
const std::vector<Where> kPlaces = {Where::kAllocated, Where::kElsewhere,
                                    Where::kAllocatedOnOddRanks, Where::kAtOddPlaces};
const std::vector<int64_t> kSizes = {0, 1, 17, 255, 513, 1000, 4097, 200003};

TEST(HostCommunicator, SumsAsPlainMpiDoes) {
  const auto plain = make({.shared_memory = false});
  EXPECT_EQ(transport_of(*plain), "MPI");
  for (const bool asynchronous : {false, true}) {
    const auto world = make({.asynchronous = asynchronous});
    EXPECT_EQ(transport_of(*world),
              ranks() > 1 ? "shared memory" : "MPI; no two ranks are on one node");
    EXPECT_EQ(wrong_sums(*world, *plain, kSizes, kDtypes, kPlaces), 0);
  }
  const auto world = make({});
  const auto dtypes = ranks() <= 2 ? kDtypes : std::vector{at::kFloat};
  EXPECT_EQ(wrong_sums(*world, *plain, {10000000}, dtypes, {Where::kAllocatedOnOddRanks}), 0);
}

TEST(HostCommunicator, WithoutSharedMemoryKeepsTheContract) {
  EXPECT_NO_THROW(test::check_contract(*make({.asynchronous = true, .shared_memory = false})));
}

// Gradients, statistics and the rest in one stream of calls.
TEST(HostCommunicator, KeepsTheOrderOfCallsOfAllKinds) {
  const auto world = make({.asynchronous = true});
  const int n = ranks();
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 6; ++i) {
      const int64_t elements = i == 0 ? 50000 + round : 7 * i + round;
      const at::Tensor tensor =
          i % 2 == 0 ? world->allocate(elements, at::kFloat) : at::empty({elements}, at::kFloat);
      tensor.fill_(static_cast<double>(round + i + rank()));
      tensors.push_back(tensor);
      works.push_back(world->all_reduce(tensor));
    }
    at::Tensor named = at::full({round + 1}, rank(), at::kInt);
    world->broadcast(named, round % n);
    ASSERT_TRUE(named.eq(round % n).all().item<bool>());
    // As many bytes as go without MPI, and more.
    const int64_t elements = round % 2 == 0 ? 100 : 30000;
    const at::Tensor all = world->all_gather(at::full({elements}, rank() + round, at::kByte));
    for (int r = 0; r < n; ++r) ASSERT_TRUE(all[r].eq(r + round).all().item<bool>());
    world->barrier();
    for (const Work& work : works) work.wait();
    for (int i = 0; i < 6; ++i) {
      const double sum = n * (round + i) + n * (n - 1) / 2.0;
      ASSERT_TRUE(tensors[i].eq(sum).all().item<bool>()) << "round " << round << ", call " << i;
    }
    tensors.clear();
    works.clear();
  }
}

// By the definition.
at::Tensor tree_of(std::vector<at::Tensor> leaves) {
  while (leaves.size() % 2 == 0) {
    for (size_t i = 0; 2 * i < leaves.size(); ++i) leaves[i] = leaves[2 * i] + leaves[2 * i + 1];
    leaves.resize(leaves.size() / 2);
  }
  at::Tensor sum = leaves[0].clone();
  for (size_t i = 1; i < leaves.size(); ++i) sum += leaves[i];
  return sum;
}

TEST(HostCommunicator, TreeSumsAreThoseOfTheTreeHoweverTheyTravel) {
  const HostSetup setups[] = {
      {}, {.asynchronous = true}, {.shared_memory = false}, {.node = rank() % 2}};
  for (const HostSetup& setup : setups) {
    const auto world = make(setup);
    for (const int64_t elements : {int64_t{0}, int64_t{1}, int64_t{100}, int64_t{123457},
                                   ranks() <= 2 ? int64_t{4200003} : int64_t{4001}}) {
      at::manual_seed(static_cast<uint64_t>(rank()) + 1);
      const at::Tensor values = at::randn({elements}) * at::randn({elements}).exp();
      const at::Tensor expected = tree_of(world->all_gather(values).unbind());
      for (const Where where : kPlaces) {
        const at::Tensor mine = memory(*world, elements, at::kFloat, where);
        mine.copy_(values);
        world->all_reduce(mine, ReduceOp::kTreeSum).wait();
        EXPECT_TRUE(at::equal(mine, expected)) << elements << " elements";
      }
    }
    at::Tensor narrow = at::ones({3}, at::kBFloat16);
    EXPECT_THROW(world->all_reduce(narrow, ReduceOp::kTreeSum), Error);
  }
}

TEST(HostCommunicator, BitsAreThoseOfTheOrderOfTheRanks) {
  const auto world = make({});
  for (const int64_t elements : {100, 123457}) {
    at::manual_seed(static_cast<uint64_t>(rank()) + 1);
    const at::Tensor values = at::randn({elements}) * at::randn({elements}).exp();
    const at::Tensor of_all = world->all_gather(values);
    at::Tensor expected = of_all[0].clone();
    for (int r = 1; r < ranks(); ++r) expected.add_(of_all[r]);
    for (const Where where : {Where::kAllocated, Where::kElsewhere, Where::kAtOddPlaces}) {
      const at::Tensor mine = memory(*world, elements, at::kFloat, where);
      mine.copy_(values);
      world->all_reduce(mine).wait();
      EXPECT_TRUE(at::equal(mine, expected));
    }
  }
}

TEST(HostCommunicator, ManyShortCallsOfTwoCommunicators) {
  const auto gradients = make({.asynchronous = true});
  const auto norms = make({});
  const at::Tensor gradient = gradients->allocate(3000, at::kFloat);
  for (int i = 0; i < 300; ++i) {
    gradient.fill_(1.0);
    at::Tensor norm = at::ones({64});
    const Work work = gradients->all_reduce(gradient);
    norms->all_reduce(norm).wait();
    const at::Tensor all = norms->all_gather(at::full({8}, rank()));
    work.wait();
    ASSERT_TRUE(gradient.eq(ranks()).all().item<bool>());
    ASSERT_TRUE(norm.eq(ranks()).all().item<bool>());
    ASSERT_EQ(all[ranks() - 1][7].item<int>(), ranks() - 1);
  }
}

TEST(HostCommunicator, MemoryOutlivesItAndSuitsOthers) {
  at::Tensor memory;
  {
    const auto world = make({});
    memory = world->allocate(100000, at::kFloat);
    world->barrier();
  }
  memory.fill_(2.0);
  make({})->all_reduce(memory).wait();
  EXPECT_TRUE(memory.eq(2 * ranks()).all().item<bool>());
}

TEST(HostCommunicator, MemoryIsZerosAndNobodyElses) {
  const auto world = make({});
  const int64_t elements = int64_t{10} << 20;
  const at::Tensor first = world->allocate(elements, at::kFloat);
  for (int i = 0; i < 5; ++i) {
    const at::Tensor block = world->allocate(elements, at::kFloat);
    EXPECT_TRUE(block.eq(0).all().item<bool>());
    block.fill_(1.0);
  }
  EXPECT_TRUE(first.eq(0).all().item<bool>());
  EXPECT_EQ(world->allocate(0, at::kFloat).numel(), 0);
}

TEST(HostCommunicator, SumsBetweenMadeUpNodes) {
  const auto plain = make({.shared_memory = false});
  struct Layout {
    const char* what;
    std::function<int(int)> node_of;
    int nodes, lanes;
  };
  std::vector<Layout> layouts;
  if (ranks() == 4) {
    layouts = {{"two and two", [](int r) { return r / 2; }, 2, 2},
               {"alternating", [](int r) { return r % 2; }, 2, 2},
               {"three and one", [](int r) { return r / 3; }, 2, 1},
               {"one and three", [](int r) { return r == 2 ? 0 : 1; }, 2, 1}};
  } else if (ranks() == 8) {
    layouts = {{"three, two, three", [](int r) { return r < 3 ? 0 : r < 5 ? 1 : 2; }, 3, 2}};
  }
  for (const Layout& layout : layouts) {
    const int node = layout.node_of(rank());
    const auto world = make({.asynchronous = true, .node = node});
    EXPECT_THAT(
        transport_of(*world),
        HasSubstr(concat("within ", layout.nodes, " nodes, MPI between them by ", layout.lanes)));
    EXPECT_EQ(wrong_sums(*world, *plain, kSizes, kDtypes, kPlaces), 0) << layout.what;
    EXPECT_EQ(wrong_sums(*world, *plain, {1200001}, kDtypes, {Where::kAllocatedOnOddRanks}), 0)
        << layout.what;
    EXPECT_NO_THROW(test::check_contract(*world)) << layout.what;
    // The same bits on every rank.
    at::manual_seed(static_cast<uint64_t>(rank()) + 1);
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor values = at::randn({50001}).to(dtype);
      world->all_reduce(values).wait();
      const at::Tensor all = world->all_gather(values);
      for (int r = 1; r < ranks(); ++r) EXPECT_TRUE(at::equal(all[r], all[0])) << layout.what;
    }
  }
}

TEST(HostCommunicator, RanksOnNodesOfTheirOwnUseMpi) {
  const auto world = make({.node = rank()});
  EXPECT_EQ(transport_of(*world), "MPI; no two ranks are on one node");
  EXPECT_NO_THROW(test::check_contract(*world));
}

// One rank that may not have shared memory puts all on MPI, and they all know why.
TEST(HostCommunicator, FallsBackToMpiOnAllRanksAlike) {
  if (ranks() == 1) return;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{rank() == 1 ? rlim_t{1 << 20} : before.rlim_cur, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto world = make({.asynchronous = true});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_THAT(transport_of(*world),
              testing::StartsWith("MPI; shared memory cannot be used: rank 1: "));
  EXPECT_THAT(transport_of(*world), HasSubstr("ulimit -f"));
  EXPECT_NO_THROW(test::check_contract(*world));
  const at::Tensor narrow = at::full({1000}, 1.5, at::kBFloat16);
  world->all_reduce(narrow).wait();
  EXPECT_TRUE(narrow.eq(1.5 * ranks()).all().item<bool>());
}

}  // namespace
}  // namespace largo::comm
