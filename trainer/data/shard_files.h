// Many files, of which a few are open at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "trainer/data/byte_source.h"

namespace largo::data {

// Opens files when they are first asked for, and closes the one not asked for the longest where
// more than `most_open` would be open. Thread-safe.
class ShardFiles {
 public:
  struct File {
    std::filesystem::path path;
    uint64_t bytes = 0;  // what it must have
  };

  // random_reads: see OpenFile::expect_random_reads().
  ShardFiles(std::vector<File> files, size_t most_open, bool random_reads);

  // Stays open as long as the caller keeps it. Throws what OpenFile throws, and Error{kBadData} for
  // a file of another size than it must have.
  std::shared_ptr<const OpenFile> get(size_t number) const;

  const std::filesystem::path& path(size_t number) const { return files_[number].path; }

 private:
  struct Slot {
    std::shared_ptr<const OpenFile> file;
    uint64_t last_use = 0;
  };

  std::shared_ptr<const OpenFile> open(size_t number) const;
  void close_oldest() const;

  std::vector<File> files_;
  size_t most_open_;
  bool random_reads_;
  mutable std::mutex mutex_;  // guards what follows
  mutable std::vector<Slot> slots_;
  mutable std::vector<size_t> open_;  // numbers of the slots with a file
  mutable uint64_t uses_ = 0;
};

}  // namespace largo::data
