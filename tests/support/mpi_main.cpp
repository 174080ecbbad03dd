// main() of tests that run as several MPI ranks: rank 0 prints, other ranks print their failures,
// and every rank fails if any did, whatever the launcher makes of single exit codes.
#include "tests/support/mpi_main.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace largo::test {

namespace {

const comm::MpiSession* current_session = nullptr;

class FailurePrinter final : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

 private:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "[rank %d] %s:%d: %s\n", rank_,
                 result.file_name() ? result.file_name() : "", result.line_number(),
                 result.message());
  }

  int rank_;
};

}  // namespace

const comm::MpiSession& mpi_session() { return *current_session; }

}  // namespace largo::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  largo::comm::MpiSession session(argc, argv);
  largo::test::current_session = &session;
  if (session.rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new largo::test::FailurePrinter(session.rank()));
  }
  const int failed = RUN_ALL_TESTS();
  bool any = false;
  for (const std::string& of_rank : session.all_gather(failed == 0 ? "ok" : "failed")) {
    any = any || of_rank != "ok";
  }
  if (any && session.rank() == 0) std::fprintf(stderr, "FAILED on at least one rank\n");
  return any ? 1 : 0;
}
