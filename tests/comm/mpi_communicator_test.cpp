#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>
#include <string>

#include "comm/mpi_session.h"
#include "tests/comm/communicator_contract.h"
#include "tests/support/mpi_main.h"

namespace largo::comm {
namespace {

TEST(HostCommunicator, KeepsTheContract) {
  for (const bool asynchronous : {false, true}) {
    const auto world = test::mpi_session().make_communicator(asynchronous);
    EXPECT_EQ(world->is_asynchronous(),
              asynchronous && test::mpi_session().thread_level() == ThreadLevel::kMultiple);
    EXPECT_NO_THROW(test::check_contract(*world));
  }
}

TEST(HostCommunicator, TwoCommunicatorsInDifferentOrder) {
  // What SyncBN and the reducer do: the calls of two communicators need no common order.
  const MpiSession& session = test::mpi_session();
  if (session.thread_level() != ThreadLevel::kMultiple) {
    GTEST_SKIP() << "this MPI grants " << to_string(session.thread_level());
  }
  const auto gradients = session.make_communicator(true);
  const auto norms = session.make_communicator(false);
  for (int i = 0; i < 50; ++i) {
    at::Tensor gradient = at::ones({5000});
    at::Tensor norm = at::ones({32});
    Work work;
    if (session.rank() % 2 == 0) {
      work = gradients->all_reduce(gradient);
      norms->all_reduce(norm).wait();
    } else {
      norms->all_reduce(norm).wait();
      work = gradients->all_reduce(gradient);
    }
    work.wait();
    ASSERT_TRUE(gradient.eq(session.size()).all().item<bool>());
    ASSERT_TRUE(norm.eq(session.size()).all().item<bool>());
  }
}

TEST(MpiSession, KnowsRanksAndHosts) {
  const MpiSession& session = test::mpi_session();
  EXPECT_LT(session.rank(), session.size());
  EXPECT_LE(session.local_size(), session.size());
  EXPECT_LT(session.local_rank(), session.local_size());
  const auto hosts = session.node_all_gather(session.host());
  EXPECT_EQ(static_cast<int>(hosts.size()), session.local_size());
  EXPECT_EQ(std::set<std::string>(hosts.begin(), hosts.end()).size(), 1u);
  EXPECT_FALSE(session.library_version().empty());
}

TEST(MpiSession, CarriesBytes) {
  const MpiSession& session = test::mpi_session();
  const std::string text("a\0b", 3);
  EXPECT_EQ(session.broadcast(session.rank() == 0 ? text : "other"), text);
  EXPECT_EQ(session.broadcast(session.rank() == 0 ? "" : "other"), "");
  const int last = session.size() - 1;
  EXPECT_EQ(session.broadcast(std::to_string(session.rank()), last), std::to_string(last));
  const auto all = session.all_gather(std::string(session.rank(), 'x'));
  ASSERT_EQ(static_cast<int>(all.size()), session.size());
  for (int r = 0; r < session.size(); ++r) EXPECT_EQ(all[r], std::string(r, 'x'));
}

}  // namespace
}  // namespace largo::comm
