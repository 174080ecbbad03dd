// What train.precision: auto comes to.
#pragma once

#include <filesystem>
#include <string>

#include "comm/base/log.h"
#include "comm/mpi_session.h"
#include "trainer/checkpoint/options.h"
#include "trainer/commands/training_setup.h"
#include "trainer/run_options.h"

namespace largo::commands {

// Of a forward and backward pass of the run's model.
struct PrecisionProbe {
  int64_t samples = 0;
  double float32_s = 0;
  double bfloat16_s = 0;

  // bfloat16 has to be clearly faster, as it costs digits.
  Precision faster() const {
    return bfloat16_s < 0.95 * float32_s ? Precision::kBfloat16 : Precision::kFloat32;
  }
};

// What a run had so far.
struct PrecisionBefore {
  Precision precision = Precision::kAuto;  // auto: nothing
  std::string where = {};                  // that says so, for people
};

// Of the checkpoint that checkpoint.resume asks for, among those in `checkpoints` or anywhere.
// Nothing where there is none, or where it does not say: why training cannot go on from there is
// for restore() to say. For rank 0, as it reads files.
PrecisionBefore precision_of_checkpoint(const checkpoint::CheckpointOptions& options,
                                        const std::filesystem::path& checkpoints);

// What `wish` comes to in a run that had `before` so far: auto goes on with that, if it is one of
// the two that auto chooses from. Else `wish`.
Precision precision_to_go_on_with(Precision wish, Precision before);

// A collective. Where the run's precision is auto it becomes `before`, or where that is auto too
// what a probe on all ranks at once says on rank 0: passes of random images through a model of its
// own, with no other rank and no effect on the training. The log says which and why.
void settle_precision(RunInput& run, const comm::MpiSession& session, const PrecisionBefore& before,
                      Log& log);

// "bfloat16"
std::string to_string(Precision precision);

}  // namespace largo::commands
