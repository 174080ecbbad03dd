// Where training goes on, and whether it may.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "comm/base/log.h"
#include "trainer/checkpoint/checkpointer.h"
#include "trainer/commands/training_setup.h"
#include "trainer/config/load.h"
#include "trainer/optim/lr_controller.h"
#include "trainer/run_state.h"

namespace largo::commands {

struct From {
  RunState state;
  std::optional<std::filesystem::path> checkpoint;  // none: from the start
};

// What a checkpoint of this training says that it was made with; a collective.
RunIdentity identity_of(const Training& training, const comm::MpiSession& session);

// Throws Error{kConfig} where `now` trains otherwise than `saved`, in keys that checkpoint.allow
// does not name: with the changes, and what to add to the command line to go on with or without
// them. Not looked at: what the checkpoint itself is compared for, batch.* by its plan and the
// paths of data by what lies there, unless `all`.
void refuse_other_trajectory(const std::string& where, const config::RunConfig& saved,
                             const config::RunConfig& now, bool all);

// A collective: loads the checkpoint that checkpoint.resume asks for, if there is one, into the
// learner and the controller. Throws AgreedErrors: what load() does; kConfig where the
// configuration, the global batch or the samples that share statistics are others; kBadData where
// the data are. Other threads, instruction sets or versions are noted: the bits may differ.
From restore(const RunIdentity& identity, checkpoint::Checkpointer& checkpoints, Training& training,
             optim::LrController& controller, Log& log);

}  // namespace largo::commands
