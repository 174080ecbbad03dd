// The verdict on a step that is not finite, with ranks as MPI processes.
#include <gtest/gtest.h>

#include "tests/support/mpi_main.h"
#include "tests/trainer/nonfinite_cases.h"

namespace largo::test {
namespace {

TEST(MpiNonfinite, AllRanksDecideAlikeWhicheverIsBad) {
  torch::set_num_threads(1);
  const comm::MpiSession& session = mpi_session();
  const auto world = session.make_communicator(/*asynchronous=*/true);
  const auto norms = session.make_communicator(/*asynchronous=*/false);
  expect_same_decision(*world, *norms);
}

}  // namespace
}  // namespace largo::test
