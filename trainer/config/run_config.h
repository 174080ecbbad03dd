// Everything a run file says, as the owners' options.
#pragma once

#include "comm/base/option_table.h"
#include "comm/options.h"
#include "trainer/batch_plan.h"
#include "trainer/checkpoint/options.h"
#include "trainer/data/options.h"
#include "trainer/nn/options.h"
#include "trainer/optim/options.h"
#include "trainer/run_options.h"

namespace largo::config {

struct RunConfig {
  RunOptions run;
  data::DataOptions data;
  nn::ModelOptions model;
  BatchOptions batch;
  optim::OptimizerOptions optimizer;
  optim::LrOptions lr;
  nn::LossOptions loss;
  TrainOptions train;
  EvalOptions eval;
  checkpoint::CheckpointOptions checkpoint;
  comm::CommOptions comm;
};

// The table of all keys of a run file, in the order in which they are printed.
// `config` must outlive the table.
OptionTable make_table(RunConfig& config);

// What the owners find wrong, whatever the world size and the data.
std::vector<OptionProblem> check(const RunConfig& config);

}  // namespace largo::config
