// Runs one rank of which makes a gradient with a NaN: for ranks as threads and as processes.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "comm/base/error.h"
#include "comm/communicator.h"
#include "tests/trainer/toy_run.h"

namespace largo::test {

// A model with running statistics, an average, momentum, several buckets and micro-batches.
inline ToyOptions nonfinite_toy() {
  ToyOptions options = {.model = "resnet8",
                        .norm = {.kind = nn::NormKind::kBatch},
                        .steps = 4,
                        .shape = {3, 8, 8},
                        .clip_norm = 0.5,
                        .ema_decay = 0.9};
  options.batch = {.global = 32, .max_micro = 4};
  return options;
}

// What the run's end says on this rank; empty where it went through.
inline std::string end_of(const ToyOptions& options, comm::Communicator& world,
                          comm::Communicator& norms) {
  try {
    run_toy(options, world, norms);
    return {};
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ExitCode::kNumerical) << error.what();
    return error.what();
  }
}

// Whichever rank it is, all of them stop in that step, or leave it out.
inline void expect_same_decision(comm::Communicator& world, comm::Communicator& norms) {
  for (int bad = 0; bad < world.size(); ++bad) {
    ToyOptions options = nonfinite_toy();
    options.poisons = [bad](int rank, int64_t step) { return rank == bad && step == 2; };
    const std::string end = end_of(options, world, norms);
    EXPECT_NE(end.find("the gradient of step 3 is not finite: its norm is nan"), std::string::npos)
        << end << " on rank " << world.rank() << ", NaN on rank " << bad;

    options.on_nonfinite = OnNonfinite::kSkip;
    const ToyResult result = run_toy(options, world, norms);
    EXPECT_EQ(result.skipped, (std::vector<bool>{false, false, true, false}))
        << "rank " << world.rank() << ", NaN on rank " << bad;
  }
}

}  // namespace largo::test
