// Messages for people: stderr and, once a run directory exists, its log.txt.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace largo {

// Notes and warnings come from rank 0 only, so that N ranks do not say a thing N times; errors, and
// warnings of what only one rank can know, come from the rank that has them, tagged
// "[rank 3 @ node7]". Safe to call from any thread. Never
// throws.
class Log {
 public:
  // `stream` must outlive the log; the tag is left out where there is one rank.
  explicit Log(std::FILE* stream = stderr) : stream_(stream) {}

  void set_rank(int rank, int world, std::string host);

  // From now on every message of this rank goes to `file` as well (appended). Throws Error{kIo}.
  void tee_to(const std::filesystem::path& file);

  void note(std::string_view message) noexcept;          // rank 0
  void warn(std::string_view message) noexcept;          // rank 0
  void warn_of_rank(std::string_view message) noexcept;  // every rank
  void error(std::string_view message) noexcept;         // every rank

  // Text drawn in place on the terminal (a progress bar), wiped before the next message. Not teed.
  void set_status(std::string_view line) noexcept;  // rank 0

  int rank() const { return rank_; }

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  void write(std::string_view tag, std::string_view prefix, std::string_view message) noexcept;

  std::FILE* stream_;
  std::mutex mutex_;
  int rank_ = 0;
  std::string tag_;
  std::string status_;
  std::unique_ptr<std::FILE, CloseFile> tee_;
};

}  // namespace largo
