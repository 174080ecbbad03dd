// The set-up of NCCL over MPI where it cannot succeed: all ranks say so together, and none hangs.
#include <c10/cuda/CUDAFunctions.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "comm/base/error.h"
#include "comm/nccl_backend.h"
#include "tests/support/mpi_main.h"

namespace largo::test {
namespace {

using testing::HasSubstr;

std::string value_of(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

TEST(NcclSetup, FailsOnAllRanksTogether) {
  if (c10::cuda::device_count() > 0) GTEST_SKIP() << "a GPU is there";
  const comm::MpiSession& session = mpi_session();
  setenv("NCCL_OF_ONE_RANK", session.rank() == 0 ? "zero" : "other", 1);
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / session.broadcast(concat("largo_nccl_", getpid()));
  try {
    comm::make_nccl_communicator(session, session.make_communicator(false),
                                 {.device = 0,
                                  .init_timeout_s = 20,
                                  .timeout_s = 20,
                                  .log_folder = folder,
                                  .share_gpu = true});
    FAIL() << "NCCL without a GPU";
  } catch (const AgreedError& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.code(), ExitCode::kUnavailable);
    EXPECT_THAT(text, HasSubstr(concat(session.size(), " of ", session.size(), " failed")));
    EXPECT_THAT(text, HasSubstr("cudaSetDevice: "));
    EXPECT_THAT(text, HasSubstr("lo 127.0.0.1"));
    EXPECT_THAT(text,
                HasSubstr(session.size() == 1 ? "differ between ranks:\n  none"
                                              : "NCCL_OF_ONE_RANK: zero on rank 0; other on rank"));
    EXPECT_THAT(text, testing::Not(HasSubstr("NCCL_HOSTID:")));
    EXPECT_EQ(session.broadcast(text), text);
  }
  EXPECT_EQ(value_of("NCCL_DEBUG_FILE"), folder / "nccl.%h.%p.log");
  EXPECT_EQ(value_of("NCCL_HOSTID"), concat(session.host(), "-rank", session.rank()));
  EXPECT_EQ(value_of("NCCL_SOCKET_IFNAME"), "lo");
  session.all_gather("");  // all have looked
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace largo::test
