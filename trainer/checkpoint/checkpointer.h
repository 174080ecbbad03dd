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
#include "trainer/checkpoint/weights.h"

namespace largo::checkpoint {

// What training goes on from.
struct State {
  NamedTensors model;  // parameters and buffers
  NamedTensors optimizer;
  std::string json;  // step, learning-rate controller, best metrics, bucket order, …
};

struct LoadedState {
  TensorMap model;
  TensorMap optimizer;
  std::string json;
};

// Checkpoints are directories step-00000500/ in `directory`, with model.safetensors,
// optimizer.safetensors, state.json, and DONE, which is written last: without it there is no
// checkpoint.
//
// Every method is a collective: all ranks call it, rank 0 alone touches the disk, and what fails
// there is thrown as the same AgreedError on every rank. `comm` carries host tensors; comm and log
// outlive this object, and the run's lock (RunDirectory) is held by this run.
class Checkpointer {
 public:
  Checkpointer(const CheckpointOptions& options, std::filesystem::path directory,
               comm::Communicator& comm, Log& log);

  // Writes the state after `step` updates, as rank 0 has it, and returns the checkpoint's folder;
  // replaces a checkpoint of that step.
  // Then removes all but the newest `keep` checkpoints and what killed runs left half-written.
  // Checkpoints of later steps are of a course that was given up (training went back): they are
  // renamed to step-….abandoned, so that latest() does not take them up again.
  // Throws Error{kIo}, and older checkpoints are as they were; trouble in clearing up is a warning.
  // If `comm` throws because a collective has failed, the state may be that collective's garbage:
  // no checkpoint is made, and one of that step is as it was.
  std::filesystem::path save(int64_t step, const State& state);

  // The complete checkpoint of the highest step.
  std::optional<std::filesystem::path> latest();

  // Throws Error{kInputMissing} where there is no complete checkpoint, Error{kBadData} for a
  // corrupted one.
  LoadedState load(const std::filesystem::path& path);

 private:
  void on_root(const std::function<void()>& work);
  void broadcast_bytes(std::vector<std::byte>& bytes);
  std::vector<std::byte> read_everywhere(const std::filesystem::path& path);
  std::filesystem::path temporary_folder(int64_t step) const;
  void write(int64_t step, const State& state) const;
  void publish(int64_t step) const;
  void clear_up(int64_t step) noexcept;

  CheckpointOptions options_;
  std::filesystem::path directory_;
  comm::Communicator& comm_;
  Log& log_;
};

}  // namespace largo::checkpoint
