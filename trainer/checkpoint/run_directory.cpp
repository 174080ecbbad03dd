#include "trainer/checkpoint/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "comm/base/error.h"
#include "trainer/base/atomic_file.h"

namespace largo::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMaxSummaryBytes = 16 << 20;

[[noreturn]] void fail_io(const char* verb, const fs::path& path) {
  const std::string reason = std::generic_category().message(errno);
  fail(ExitCode::kIo, "cannot ", verb, " ", path.string(), ": ", reason);
}

bool is_there(const fs::path& path) {
  std::error_code error;
  const bool there = fs::exists(path, error);
  if (error) fail(ExitCode::kIo, "cannot look for ", path.string(), ": ", error.message());
  return there;
}

// "4711@node7"
std::string this_process() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return concat(::getpid(), '@', host.data());
}

bool is_same_file(int fd, const fs::path& path) {
  struct stat opened {
  }, named{};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

void check_name(const std::string& name) {
  const fs::path path(name);
  const bool leads_out =
      std::any_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".."; });
  if (name.empty() || name == "." || path.is_absolute() || leads_out) {
    fail(ExitCode::kConfig, "run.name: \"", name,
         "\" does not name a directory inside of run.output");
  }
}

RunState state_of(const RunDirectory& run) {
  if (is_there(run.summary_json())) {
    const std::vector<std::byte> bytes = read_file(run.summary_json(), kMaxSummaryBytes);
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const nlohmann::json summary =
        nlohmann::json::parse(text, text + bytes.size(), nullptr, /*allow_exceptions=*/false);
    const auto status = summary.is_object() ? summary.find("status") : summary.end();
    if (status == summary.end() || !status->is_string()) {
      fail(ExitCode::kBadData, run.summary_json().string(),
           " is not a summary: a JSON object with the text \"status\"");
    }
    return *status == "done" ? RunState::kFinished : RunState::kUnfinished;
  }
  const bool started =
      is_there(run.config_yaml()) || is_there(run.metrics_jsonl()) || is_there(run.checkpoints());
  return started ? RunState::kUnfinished : RunState::kNew;
}

// <name>.old-1 or the first after it that is free.
fs::path free_old_name(const fs::path& path) {
  for (int n = 1;; ++n) {
    fs::path old = path.string() + concat(".old-", n);
    if (!is_there(old)) return old;
  }
}

}  // namespace

// flock on <directory>/lock, which is the kernel's to release when the process dies. The file says
// who holds it and goes when it is released.
class RunDirectory::Lock {
 public:
  explicit Lock(const fs::path& directory) : file_(directory / "lock") {
    do {
      close();
      fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
      if (fd_ < 0) fail_io("create", file_);
      if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) fail_locked(directory);
      // Between open and flock the holder may have removed the file, or renamed its directory.
    } while (!is_same_file(fd_, file_));
    const std::string holder = this_process() + '\n';
    if (::ftruncate(fd_, 0) != 0 ||
        ::pwrite(fd_, holder.data(), holder.size(), 0) != static_cast<ssize_t>(holder.size())) {
      const int error = errno;
      close();
      errno = error;
      fail_io("write", file_);
    }
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    ::unlink(file_.c_str());
    close();
  }

  void directory_moved_to(const fs::path& directory) { file_ = directory / "lock"; }

 private:
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  [[noreturn]] void fail_locked(const fs::path& directory) {
    const int error = errno;
    std::array<char, 300> text{};
    const ssize_t length = ::pread(fd_, text.data(), text.size(), 0);
    close();
    errno = error;
    if (error != EWOULDBLOCK) fail_io("lock", file_);
    std::string_view holder(text.data(), static_cast<size_t>(std::max<ssize_t>(length, 0)));
    holder = holder.substr(0, holder.find('\n'));
    fail(ExitCode::kUnavailable, "the run directory ", directory.string(), " is in use by ",
         holder.empty() ? "another process" : holder,
         "; wait for that run, stop it, or choose another run.name");
  }

  fs::path file_;
  int fd_ = -1;
};

void RunDirectory::ReleaseLock::operator()(Lock* lock) const { delete lock; }

RunDirectory::RunDirectory(fs::path path, std::unique_ptr<Lock, ReleaseLock> lock)
    : path_(std::move(path)), lock_(std::move(lock)), state_(state_of(*this)) {}

RunDirectory RunDirectory::open(const fs::path& output, const std::string& name, bool fresh) {
  check_name(name);
  const fs::path path = (output / name).lexically_normal();
  const auto lock_directory = [&] {
    make_directories(path);
    return std::unique_ptr<Lock, ReleaseLock>(new Lock(path));
  };
  const bool was_there = is_there(path);
  auto lock = lock_directory();
  if (fresh && was_there) {
    const fs::path old = free_old_name(path);
    if (::rename(path.c_str(), old.c_str()) != 0) fail_io("rename", path);
    lock->directory_moved_to(old);
    lock = lock_directory();
  }
  return RunDirectory(path, std::move(lock));
}

}  // namespace largo::checkpoint
