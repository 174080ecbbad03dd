// The real libraries on a machine without a driver: a clear error, at once, and no crash.
#include <gmock/gmock.h>

#include "comm/base/error.h"
#include "comm/nccl/nccl_check.h"
#include "comm/nccl/nccl_core.h"
#include "comm/nccl_backend.h"

namespace largo::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUnavailable);
    return error.what();
  }
  return "no error";
}

class NoDriver : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0) {
      GTEST_SKIP() << "this machine has a GPU: the tests labelled gpu look at it";
    }
  }
};

TEST(NcclVersions, AreKnownWithoutADriver) {
  EXPECT_THAT(comm::nccl_versions(),
              testing::MatchesRegex("NCCL [0-9.]+ \\(built against [0-9.]+\\)"));
}

TEST_F(NoDriver, StreamNamesTheCall) {
  EXPECT_THAT(error_of([] { comm::CommStream({}); }),
              AllOf(HasSubstr("cudaSetDevice: "), HasSubstr("driver")));
}

// NCCL itself, without the stream that fails before it.
TEST_F(NoDriver, NcclRefusesWithAText) {
  const ncclUniqueId id = comm::NcclCore::make_id();
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t connected = nullptr;
  const ncclResult_t result = ncclCommInitRankConfig(&connected, 2, id, 0, &config);
  EXPECT_NE(result, ncclSuccess);
  EXPECT_NE(result, ncclInProgress);
  EXPECT_EQ(connected, nullptr);
  EXPECT_THAT(comm::nccl_error_text(result, connected), HasSubstr("driver"));
}

}  // namespace
}  // namespace largo::test
