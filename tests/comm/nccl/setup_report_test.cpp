#include "comm/nccl/setup_report.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "comm/base/error.h"

namespace largo::test {
namespace {

using comm::RankSetup;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

RankSetup setup_of(int rank, const std::string& host, const std::string& error = "") {
  RankSetup setup;
  setup.rank = rank;
  setup.host = host;
  setup.error = error;
  setup.interfaces = {"lo 127.0.0.1", "eth0 10.0.0.1"};
  setup.variables = {{"NCCL_DEBUG", "INFO"}};
  return setup;
}

TEST(SetupReport, SaysWhoFailedWhereAndWhatDiffers) {
  std::vector<RankSetup> ranks = {
      setup_of(0, "node1", "rank 0: not complete; rank 3 is ABSENT"),
      setup_of(1, "node1", "rank 1: not complete; rank 3 is ABSENT"),
      setup_of(2, "node2"),
      setup_of(3, "node2", "unhandled system error"),
  };
  ranks[2].interfaces = ranks[3].interfaces = {"lo 127.0.0.1", "ib0 without address (down)"};
  ranks[1].variables["NCCL_DEBUG"] = "WARN";
  ranks[2].variables["NCCL_SOCKET_IFNAME"] = "eth0";
  ranks[3].variables["NCCL_SOCKET_IFNAME"] = "ib0";
  ranks[1].log_file = "/run/nccl.node1.17.log";
  ranks[1].log_tail = "line one\nline two\n";
  EXPECT_EQ(comm::describe_failed_setup(ranks),
            "NCCL could not connect the ranks; 3 of 4 failed:\n"
            "  ranks 0, 1: not complete; rank 3 is ABSENT\n"
            "  rank 3: unhandled system error\n"
            "Network interfaces:\n"
            "  node1: lo 127.0.0.1, eth0 10.0.0.1\n"
            "  node2: lo 127.0.0.1, ib0 without address (down)\n"
            "NCCL settings that differ between ranks:\n"
            "  NCCL_DEBUG: INFO on ranks 0, 2, 3; WARN on rank 1\n"
            "  NCCL_SOCKET_IFNAME: not set on ranks 0, 1; eth0 on rank 2; ib0 on rank 3\n"
            "The end of NCCL's log of rank 1 @ node1 (/run/nccl.node1.17.log):\n"
            "  line one\n"
            "  line two");
}

TEST(SetupReport, ManyRanksTakeOneLine) {
  std::vector<RankSetup> ranks;
  for (int rank = 0; rank < 512; ++rank) {
    const bool fails = rank != 7;
    ranks.push_back(setup_of(rank, concat("node", rank / 8), fails ? "too late" : ""));
    ranks.back().log_tail = "x\n";
  }
  const std::string text = comm::describe_failed_setup(ranks);
  EXPECT_THAT(text, HasSubstr("511 of 512 failed:\n  ranks 0-6, 8-511: too late\n"));
  EXPECT_THAT(text, HasSubstr("differ between ranks:\n  none"));
  EXPECT_THAT(text, HasSubstr("rank 16 @ node2"));  // the third log, and the last
  EXPECT_THAT(text, Not(HasSubstr("rank 24 @ node3")));
}

TEST(SetupReport, AnyFailed) {
  EXPECT_FALSE(comm::any_failed({setup_of(0, "a"), setup_of(1, "a")}));
  EXPECT_TRUE(comm::any_failed({setup_of(0, "a"), setup_of(1, "a", "no")}));
}

TEST(SetupReport, TravelsAsBytes) {
  RankSetup setup = setup_of(5, "node:1", "several\nlines: 12:34");
  setup.log_file = "/a b";
  setup.log_tail = std::string("with a \0 inside", 15);
  const RankSetup back = comm::rank_setup_from_bytes(comm::to_bytes(setup));
  EXPECT_EQ(back.rank, 5);
  EXPECT_EQ(back.host, setup.host);
  EXPECT_EQ(back.error, setup.error);
  EXPECT_EQ(back.interfaces, setup.interfaces);
  EXPECT_EQ(back.variables, setup.variables);
  EXPECT_EQ(back.log_file, setup.log_file);
  EXPECT_EQ(back.log_tail, setup.log_tail);
  const std::string bytes = comm::to_bytes(setup);
  EXPECT_THROW(comm::rank_setup_from_bytes(bytes.substr(0, bytes.size() - 1)), Error);
}

TEST(SetupReport, ReadsThisProcess) {
  EXPECT_THAT(comm::network_interfaces(), Contains(testing::StartsWith("lo ")));
  setenv("NCCL_OF_A_TEST", "a=b", 1);
  EXPECT_EQ(comm::nccl_variables().at("NCCL_OF_A_TEST"), "a=b");
  unsetenv("NCCL_OF_A_TEST");
}

TEST(SetupReport, ReadsTheEndOfTheLogOfThisProcess) {
  const std::filesystem::path folder = concat(testing::TempDir(), "nccl_log_", getpid());
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder / name) << text;
  };
  const std::string mine = concat("nccl.node1.", getpid(), ".log");
  write(mine, "1\n2\n3\n4\n");
  for (int node = 2; node < 20; ++node) {
    write(concat("nccl.node", node, ".", getpid(), ".log"), "of another host\n");
  }
  write("nccl.node1.1.log", "of another process\n");
  RankSetup setup = setup_of(0, "node1.cluster.example");
  comm::read_nccl_log(folder, 2, setup);
  EXPECT_EQ(setup.log_file, folder / mine);
  EXPECT_EQ(setup.log_tail, "3\n4\n");
  std::filesystem::remove_all(folder);
  RankSetup none = setup_of(0, "node1");
  comm::read_nccl_log(folder, 2, none);
  EXPECT_EQ(none.log_file, "");
}

}  // namespace
}  // namespace largo::test
