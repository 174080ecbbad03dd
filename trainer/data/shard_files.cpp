#include "trainer/data/shard_files.h"

#include <algorithm>
#include <utility>

#include "comm/base/error.h"

namespace largo::data {

ShardFiles::ShardFiles(std::vector<File> files, size_t most_open, bool random_reads)
    : files_(std::move(files)),
      most_open_(most_open),
      random_reads_(random_reads),
      slots_(files_.size()) {}

std::shared_ptr<const OpenFile> ShardFiles::get(size_t number) const {
  {
    const std::lock_guard lock(mutex_);
    slots_[number].last_use = ++uses_;
    if (slots_[number].file) return slots_[number].file;
  }
  // Outside the lock: where the file system is slow, the other threads read on.
  std::shared_ptr<const OpenFile> file = open(number);
  const std::lock_guard lock(mutex_);
  if (slots_[number].file) return slots_[number].file;  // another thread was faster
  if (open_.size() >= most_open_) close_oldest();
  slots_[number].file = file;
  open_.push_back(number);
  return file;
}

std::shared_ptr<const OpenFile> ShardFiles::open(size_t number) const {
  const File& expected = files_[number];
  auto file = std::make_shared<OpenFile>(expected.path, "check data.path and data.val_path");
  if (file->size() != expected.bytes) {
    fail(ExitCode::kBadData, file->name(), ": has ", file->size(), " bytes, but had ",
         expected.bytes, " when it was indexed; start again, so that it is indexed anew");
  }
  if (random_reads_) file->expect_random_reads();
  return file;
}

void ShardFiles::close_oldest() const {
  const auto oldest = std::min_element(open_.begin(), open_.end(), [this](size_t a, size_t b) {
    return slots_[a].last_use < slots_[b].last_use;
  });
  slots_[*oldest].file.reset();
  *oldest = open_.back();
  open_.pop_back();
}

}  // namespace largo::data
