// The directory that holds everything a run writes.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace largo::checkpoint {

enum class RunState {
  kNew,         // nothing was recorded yet
  kUnfinished,  // started before, and stopped, failed or killed
  kFinished,    // summary.json says "done"
};

// <output>/<name>/, held by a lock for as long as this object lives: a second run of the same name
// cannot write among this one's files. On rank 0 only; other ranks are told what they need.
class RunDirectory {
 public:
  // Creates the directory where there is none. With `fresh`, one that exists is first renamed to
  // <name>.old-<n>: nothing is ever deleted.
  // Throws Error{kUnavailable} while another process holds it, naming that one; Error{kIo} where
  // it cannot be written; Error{kConfig} for a name that leads out of `output`; Error{kBadData}
  // for a summary.json that is no summary.
  static RunDirectory open(const std::filesystem::path& output, const std::string& name,
                           bool fresh);

  RunState state() const { return state_; }  // as it was found
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path config_yaml() const { return path_ / "config.yaml"; }
  std::filesystem::path environment_json() const { return path_ / "environment.json"; }
  std::filesystem::path metrics_jsonl() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path summary_json() const { return path_ / "summary.json"; }
  std::filesystem::path log_txt() const { return path_ / "log.txt"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }

 private:
  class Lock;
  struct ReleaseLock {
    void operator()(Lock* lock) const;
  };

  RunDirectory(std::filesystem::path path, std::unique_ptr<Lock, ReleaseLock> lock);

  std::filesystem::path path_;
  std::unique_ptr<Lock, ReleaseLock> lock_;
  RunState state_;
};

}  // namespace largo::checkpoint
