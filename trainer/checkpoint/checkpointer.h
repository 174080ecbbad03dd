// Checkpoints of a run: written whole or not at all, found again, read by all ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/log.h"
#include "comm/communicator.h"
#include "trainer/checkpoint/options.h"
#include "trainer/checkpoint/store.h"
#include "trainer/checkpoint/weights.h"

namespace largo::checkpoint {

// What training goes on from.
struct State {
  NamedTensors model;  // parameters and buffers
  NamedTensors optimizer;
  std::string json;  // step, learning-rate controller, best metrics, bucket order, …
  std::optional<double> top1 = {};  // on the validation set, where this step was evaluated
};

struct LoadedState {
  std::filesystem::path path;  // the checkpoint's folder
  TensorMap model;
  TensorMap optimizer;
  std::string json;
};

// Checkpoints are directories step-00000500/ in `directory` (see Store), with model.safetensors,
// optimizer.safetensors and state.json.
//
// Every method is a collective: all ranks call it, rank 0 alone touches the disk, and what fails
// there is thrown as the same AgreedError on every rank. `comm` carries host tensors; comm and log
// outlive this object, and the run's lock (RunDirectory) is held by this run.
class Checkpointer {
 public:
  Checkpointer(const CheckpointOptions& options, std::filesystem::path directory,
               comm::Communicator& comm, Log& log);

  // Writes the state after `step` updates, as rank 0 has it, and returns the checkpoint's folder;
  // replaces a checkpoint of that step. Then clears up (see Store), in which trouble is a warning.
  // Throws Error{kIo}, and older checkpoints are as they were.
  // If `comm` throws because a collective has failed, the state may be that collective's garbage:
  // no checkpoint is made, and one of that step is as it was.
  std::filesystem::path save(int64_t step, const State& state);

  // The newest checkpoint that is undamaged; newer ones are named in a warning. Nothing where there
  // is no complete checkpoint; Error{kBadData} where there are some and all are damaged.
  std::optional<LoadedState> load_newest();

  // All of a checkpoint, once every byte of it has been found as it was written. Throws
  // Error{kInputMissing} where there is no complete checkpoint, Error{kBadData} for a damaged one
  // or one of another format.
  LoadedState load(const std::filesystem::path& path);

 private:
  void on_root(const std::function<void()>& work);
  void broadcast_bytes(std::vector<std::byte>& bytes);
  LoadedState share(CheckpointBytes& files, const std::filesystem::path& path);

  CheckpointOptions options_;
  Store store_;
  comm::Communicator& comm_;
  Log& log_;
};

}  // namespace largo::checkpoint
