// The checkpoints of a run on disk, as one process sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/checkpoint/manifest.h"

namespace largo::checkpoint {

// Directories step-00000500/ in one directory, each with the files it was given, manifest.json, and
// DONE, which is written last: without it there is no checkpoint. One process writes at a time (the
// run's lock, RunDirectory, sees to that); it may be killed anywhere, and older checkpoints are as
// they were. One that it was replacing keeps the name that it was set aside under,
// step-00000500.tmp-replaced-….
class Store {
 public:
  explicit Store(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::filesystem::path path_of(int64_t step) const;

  // The checkpoints with DONE, of the highest step first. None where there is no directory.
  std::vector<std::filesystem::path> complete() const;

  // Brings the files of a checkpoint to disk under a name that is nobody's yet. Throws Error{kIo}
  // with the bytes that it takes, and leaves nothing then.
  void write(int64_t step, std::optional<double> top1, std::span<const CheckpointFile> files) const;

  // Gives what was written its name and its DONE, in place of a checkpoint of that step. Throws
  // Error{kIo}, and one of that step is as it was.
  void publish(int64_t step) const;

  // After step `step` was saved: removes all but the newest `keep` checkpoints and, with
  // `keep_best`, the one of the highest top-1 (the earliest of several), and what killed runs left
  // half-written. Checkpoints of later steps are of a course that was given up: they are renamed to
  // step-….abandoned, and `warn` is told, as of what could not be done.
  void clear_up(int64_t step, int64_t keep, bool keep_best,
                const std::function<void(const std::string&)>& warn) const noexcept;

  // Removes what killed runs left half-written or half-removed. A run that goes on from its last
  // step saves nothing more that would clear up after them.
  void remove_remains(const std::function<void(const std::string&)>& warn) const noexcept;

 private:
  std::filesystem::path temporary_folder(int64_t step) const;

  std::filesystem::path directory_;
};

using CheckpointBytes = std::map<std::string, std::vector<std::byte>>;

// All files of a checkpoint that its manifest lists, by name. Throws Error{kInputMissing} where
// there is no complete checkpoint, UnknownVersion, and Error{kBadData} unless every file is there
// with the bytes that were written.
CheckpointBytes read_checkpoint(const std::filesystem::path& path);

}  // namespace largo::checkpoint
