#include "trainer/data/stage.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>

#include "comm/base/error.h"

namespace largo::data {

namespace {

namespace fs = std::filesystem;

constexpr double kGigabyte = 1e9;

// Below `stage` the absolute path. Text only, so that a path may be a pattern of files.
fs::path staged_path(const fs::path& path, const std::string& stage) {
  return fs::path(stage) / fs::absolute(path).lexically_normal().relative_path();
}

std::string free_space(const fs::path& folder) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) return "unknown";
  return concat(static_cast<double>(space.available) / kGigabyte, " GB");
}

// Held by one process of the node at a time, until destroyed.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder) {
    const fs::path file = folder / ".largo_stage.lock";
    descriptor_ = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (descriptor_ < 0) {
      fail(ExitCode::kIo, "data.stage ", folder.string(), ": ", file.string(),
           " cannot be created: ", std::strerror(errno));
    }
    while (::flock(descriptor_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int reason = errno;
      ::close(descriptor_);
      fail(ExitCode::kIo, "data.stage ", folder.string(), ": ", file.string(),
           " cannot be locked: ", std::strerror(reason));
    }
  }
  ~FolderLock() { ::close(descriptor_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

struct Copy {
  fs::path from = {};
  fs::path to = {};
  uintmax_t bytes = 0;
  fs::file_time_type changed = {};
};

// Nothing where the file is there already.
std::optional<Copy> plan_copy(const fs::path& file, const std::string& stage) {
  std::error_code error;
  Copy copy = {.from = file, .to = staged_path(file, stage)};
  copy.bytes = fs::file_size(file, error);
  if (!error) copy.changed = fs::last_write_time(file, error);
  if (error) {
    fail(ExitCode::kInputMissing, "data.stage: ", file.string(),
         " cannot be read: ", error.message());
  }
  const uintmax_t bytes_there = fs::file_size(copy.to, error);
  if (error || bytes_there != copy.bytes) return copy;
  const fs::file_time_type changed_there = fs::last_write_time(copy.to, error);
  if (error || changed_there != copy.changed) return copy;
  return std::nullopt;
}

void check_space(const std::vector<Copy>& copies, const std::string& stage) {
  uintmax_t bytes = 0;
  for (const Copy& copy : copies) bytes += copy.bytes;
  std::error_code error;
  const fs::space_info space = fs::space(stage, error);
  if (error || bytes <= space.available) return;
  fail(ExitCode::kIo, "data.stage ", stage, " has no room for ", copies.front().from.string(),
       copies.size() > 1 ? concat(" and ", copies.size() - 1, " more files") : "", ": ",
       static_cast<double>(bytes) / kGigabyte, " GB are needed, ", free_space(stage), " are free");
}

// Under another name until all of it is there: a copy that was cut short is not taken for a file.
void make_copy(const Copy& copy, const std::string& stage) {
  const fs::path part = copy.to.string() + ".part";
  std::error_code error;
  fs::create_directories(copy.to.parent_path(), error);
  if (!error) fs::copy_file(copy.from, part, fs::copy_options::overwrite_existing, error);
  if (!error) fs::last_write_time(part, copy.changed, error);
  if (!error) fs::rename(part, copy.to, error);
  if (!error) return;
  std::error_code ignored;
  fs::remove(part, ignored);
  fail(ExitCode::kIo, "data.stage ", stage, ": ", copy.from.string(), " cannot be copied to ",
       copy.to.string(), ": ", error.message(), " (", free_space(stage), " free)");
}

}  // namespace

DataOptions staged(const DataOptions& options) {
  DataOptions moved = options;
  if (options.stage.empty()) return moved;
  for (std::string* path : {&moved.path, &moved.val_path}) {
    if (!path->empty()) *path = staged_path(*path, options.stage).string();
  }
  return moved;
}

void stage_files(const std::vector<fs::path>& files, const std::string& stage) {
  std::error_code error;
  fs::create_directories(stage, error);
  if (error) {
    fail(ExitCode::kIo, "data.stage ", stage, " cannot be created: ", error.message());
  }
  const FolderLock lock(stage);
  std::vector<Copy> copies;
  for (const fs::path& file : files) {
    if (std::optional<Copy> copy = plan_copy(file, stage)) copies.push_back(std::move(*copy));
  }
  if (copies.empty()) return;
  check_space(copies, stage);
  for (const Copy& copy : copies) make_copy(copy, stage);
}

}  // namespace largo::data
