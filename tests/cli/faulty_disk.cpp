// To be preloaded: a disk that fails, or a process that dies, at a given moment of writing a
// checkpoint. LARGO_TEST_DISK="ACTION N" does so at the N-th call that changes anything below a
// folder checkpoints/, counted from 1; ACTION is `kill` (SIGKILL to this process), `slow` (this
// call and all later ones take a fifth of a second more), `limit` (from then on no file may grow
// beyond 8 KiB, as under ulimit -f), or the number of an errno, which this call and all later ones
// fail with. LARGO_TEST_DISK_LOG=FILE: each such call that was made, and succeeded, is a line of
// FILE, "write PATH", "rename FROM TO" and so on.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

struct Plan {
  bool kills = false;
  bool slows = false;
  bool limits = false;
  int error = 0;
  long at = 0;  // 0: never
};

Plan read_plan() {
  Plan plan;
  const char* text = std::getenv("LARGO_TEST_DISK");
  if (text == nullptr) return plan;
  plan.kills = std::strncmp(text, "kill ", 5) == 0;
  plan.slows = std::strncmp(text, "slow ", 5) == 0;
  plan.limits = std::strncmp(text, "limit ", 6) == 0;
  if (!plan.kills && !plan.slows && !plan.limits) plan.error = std::atoi(text);
  const char* space = std::strchr(text, ' ');
  plan.at = space == nullptr ? 0 : std::atol(space + 1);
  return plan;
}

// Whether the call must fail; does not come back where it kills.
bool strikes(std::string_view path) {
  static const Plan plan = read_plan();
  static std::atomic<long> calls = 0;
  if (plan.at == 0 || path.find("/checkpoints/") == std::string_view::npos) return false;
  if (++calls < plan.at) return false;
  if (plan.kills) ::kill(::getpid(), SIGKILL);
  if (plan.limits) {
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 8192;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    return false;
  }
  if (plan.slows) {
    ::usleep(200000);
    return false;
  }
  errno = plan.error;
  return true;
}

std::string path_of(int fd) {
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = ::readlink(link.c_str(), path.data(), path.size());
  return {path.data(), length > 0 ? static_cast<size_t>(length) : 0};
}

bool strikes(int fd) { return strikes(path_of(fd)); }

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// Passes on what the call returned.
template <class Result>
Result logged(Result result, const std::string& call, const std::string& path) {
  static auto* write = next<ssize_t(int, const void*, size_t)>("write");
  static const char* file = std::getenv("LARGO_TEST_DISK_LOG");
  if (file == nullptr || result < 0 || path.find("/checkpoints") == std::string::npos)
    return result;
  static const int log = ::open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const std::string line = call + " " + path + "\n";
  if (write(log, line.data(), line.size()) < 0) std::abort();
  return result;
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* bytes, size_t count) {
  static auto* real = next<ssize_t(int, const void*, size_t)>("write");
  return strikes(fd) ? -1 : logged(real(fd, bytes, count), "write", path_of(fd));
}

int fsync(int fd) {
  static auto* real = next<int(int)>("fsync");
  return strikes(fd) ? -1 : logged(real(fd), "fsync", path_of(fd));
}

int rename(const char* from, const char* to) noexcept {
  static auto* real = next<int(const char*, const char*)>("rename");
  return strikes(to) ? -1 : logged(real(from, to), "rename", std::string(from) + " " + to);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static auto* real = next<int(const char*, mode_t)>("mkdir");
  return strikes(path) ? -1 : logged(real(path, mode), "mkdir", path);
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  static auto* real = next<int(int, const char*, int)>("unlinkat");
  const bool stands_alone = path[0] == '/' || folder < 0;
  return (stands_alone ? strikes(path) : strikes(folder)) ? -1 : real(folder, path, flags);
}

int remove(const char* path) noexcept {
  static auto* real = next<int(const char*)>("remove");
  return strikes(path) ? -1 : logged(real(path), "remove", path);
}
}
