// The same cuts as equivalence_test.cpp, with ranks as MPI processes. Each process runs the
// reference by itself and compares what it holds.
#include <gtest/gtest.h>

#include "tests/support/mpi_main.h"
#include "tests/trainer/equivalence_cases.h"
#include "tests/trainer/toy_run.h"

namespace largo::test {
namespace {

TEST(MpiEquivalence, EveryCutIsTheSameTraining) {
  torch::set_num_threads(1);
  const comm::MpiSession& session = mpi_session();
  const auto world = session.make_communicator(/*asynchronous=*/true);
  const auto norms = session.make_communicator(/*asynchronous=*/false);
  int compared = 0;
  for (const Subject& subject : all_subjects()) {
    ToyOptions options = subject.options;
    options.batch = {.global = 64};
    const ToyResult reference = run_toy_alone(options);
    for (const Cut& cut : all_cuts()) {
      if (cut.world != session.size()) continue;
      if (cut.accumulates && subject.needs_whole_batch) continue;
      options.batch = cut.batch;
      const ToyResult result = run_toy(options, *world, *norms);
      EXPECT_EQ(difference(result, reference, Precision::kFloat64), "")
          << subject.name << ", " << cut.name;
      if (world->is_asynchronous()) {
        EXPECT_GT(result.launched_in_backward, 0) << subject.name;
      }
      ++compared;
    }
  }
  EXPECT_GT(compared, 0);
}

}  // namespace
}  // namespace largo::test
