// Puts a training together, for the commands that do one.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/log.h"
#include "comm/gradient_reducer.h"
#include "comm/groups.h"
#include "comm/mpi_session.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/setup.h"
#include "trainer/config/load.h"
#include "trainer/data/catalog.h"
#include "trainer/data/device_feed.h"
#include "trainer/evaluate.h"
#include "trainer/learner.h"
#include "trainer/trainer.h"

namespace largo::commands {

// A run as its file describes it, and what that means for the data and ranks at hand.
struct RunInput {
  config::LoadedConfig config;
  ChosenDevice device;
  Catalogs catalogs;
  std::string index;  // of the data
  Prepared prepared;
  std::string precision = {};  // in words, for environment.json
};

// A collective. Finds everything that can be wrong with the input, before anything is written or
// computed; throws AgreedErrors only.
RunInput read_run(const comm::MpiSession& session, Log& log, const ConfigArguments& arguments);

// All that trains, the same on every rank; members in construction order are the lifetime diagram.
// What a run resumes from is copied into learner's state before make_reducer().
struct Training {
  // A collective. `log_folder` is where NCCL's own log goes, and the watchdog's reports; empty:
  // nowhere. `the_run` and the session must outlive this object.
  Training(const RunInput& the_run, const comm::MpiSession& the_session,
           const std::filesystem::path& log_folder);
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  // A collective. `order` comes from a checkpoint; empty: found by the first step. One at a time.
  comm::GradientReducer make_reducer(const std::vector<int64_t>& order);

  // What a Trainer needs, but for the result and the profile, which a caller may add.
  Trainer::Parts parts(comm::GradientReducer& reducer, optim::LrController& lr,
                       checkpoint::Checkpointer& checkpoints, metrics::Recorder& recorder,
                       metrics::Progress& progress, Log& log);

  // Whether synchronized statistics make the gradients of ranks depend on one another.
  bool dependent_gradients() const;

  // "batch 64 = 2 ranks x 32; normalization sees 32 samples; peak LR 0.2 = 0.1 x 2 (…)"
  std::string describe_batch() const;
  // "2 x 1 thread, overlap off"
  std::string describe_ranks() const;

  const RunInput& run;
  const comm::MpiSession& session;
  data::Datasets sets;
  std::optional<data::ResidentSets> resident;
  Compute compute;
  bool overlap;
  std::vector<int> norm_ranks;
  comm::Groups groups;
  Learner learner;
};

}  // namespace largo::commands
