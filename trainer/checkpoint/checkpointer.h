// Checkpoints of a run: written whole or not at all, found again, read by all ranks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/log.h"
#include "comm/communicator.h"
#include "trainer/checkpoint/host_copy.h"
#include "trainer/checkpoint/options.h"
#include "trainer/checkpoint/store.h"
#include "trainer/checkpoint/weights.h"

namespace largo::checkpoint {

// What training goes on from.
struct State {
  NamedTensors model;  // parameters and buffers
  NamedTensors optimizer;
  std::string json;         // step, learning-rate controller, best metrics, bucket order, …
  std::string config = {};  // of the run, YAML
  std::optional<double> top1 = {};  // on the validation set, where this step was evaluated
};

struct LoadedState {
  std::filesystem::path path;  // the checkpoint's folder
  TensorMap model;
  TensorMap optimizer;
  std::string json;
  std::string config;
};

// Checkpoints are directories step-00000500/ in `directory` (see Store), with model.safetensors,
// optimizer.safetensors, state.json and config.yaml.
//
// Every method but take_written() and wait_for_writer() is a collective: all ranks call it, rank 0
// alone touches the disk, and what fails there is thrown as the same AgreedError on every rank.
// `comm` carries host tensors; comm and log outlive this object, and the run's lock (RunDirectory)
// is held by this run.
//
// A checkpoint is written by a thread of rank 0 while training goes on, from a copy of the state on
// its host, which takes as much memory as the state does. One is written at a time.
class Checkpointer {
 public:
  Checkpointer(const CheckpointOptions& options, std::filesystem::path directory,
               comm::Communicator& comm, Log& log);
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;
  ~Checkpointer();  // waits for the writer

  // Has the state after `step` updates written, as rank 0 has it now, in place of a checkpoint of
  // that step; then clears up (see Store), in which trouble is a warning. Waits for the checkpoint
  // before, and says how long; throws Error{kIo} if that one could not be written: older ones are
  // as they were. If `comm` throws because a collective has failed, the state may be that
  // collective's garbage: no checkpoint is made, and one of that step is as it was.
  void save(int64_t step, const State& state);

  // Waits for the checkpoint under way, if any; throws as save() does.
  void finish();

  struct Written {
    int64_t step = 0;
    std::filesystem::path path;
  };
  // A checkpoint that has become complete since the last call, on rank 0; nothing on others.
  std::optional<Written> take_written();

  // Waits on rank 0; what the writer failed with is logged. For the way out of a failed run.
  void wait_for_writer() noexcept;

  // The newest checkpoint that is undamaged; newer ones are named in a warning. Nothing where there
  // is no complete checkpoint; Error{kBadData} where there are some and all are damaged. Removes
  // what killed runs left half-written.
  std::optional<LoadedState> load_newest();

  // All of a checkpoint, once every byte of it has been found as it was written. Throws
  // Error{kInputMissing} where there is no complete checkpoint, Error{kBadData} for a damaged one
  // or one of another format.
  LoadedState load(const std::filesystem::path& path);

 private:
  void on_root(const std::function<void()>& work);
  void broadcast_bytes(std::vector<std::byte>& bytes);
  LoadedState share(CheckpointBytes& files, const std::filesystem::path& path);

  void write(int64_t step, std::optional<double> top1) const;
  std::exception_ptr join_writer();

  // One checkpoint being written.
  struct Writer {
    int64_t step = 0;
    std::exception_ptr error = {};  // to be read once it is done
    std::atomic<bool> done = false;
    bool told = false;  // by take_written()
    std::thread thread = {};
  };

  CheckpointOptions options_;
  Store store_;
  comm::Communicator& comm_;
  Log& log_;

  HostCopy model_;
  HostCopy optimizer_;
  std::string json_;
  std::string config_;
  bool is_under_way_ = false;       // the same on all ranks
  std::unique_ptr<Writer> writer_;  // on rank 0, until it is joined
  std::optional<Written> ready_;    // joined, and not taken yet
};

}  // namespace largo::checkpoint
