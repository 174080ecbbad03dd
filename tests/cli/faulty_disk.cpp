// To be preloaded: a disk that fails, or a process that dies, at a given moment of writing a
// checkpoint. LARGO_TEST_DISK="ACTION N" does so at the N-th call that changes anything below a
// folder checkpoints/, counted from 1; ACTION is `kill` (SIGKILL to this process), `slow` (this
// call and all later ones take a fifth of a second more), or the number of an errno, which this
// call and all later ones fail with.
#include <dlfcn.h>
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
  int error = 0;
  long at = 0;  // 0: never
};

Plan read_plan() {
  Plan plan;
  const char* text = std::getenv("LARGO_TEST_DISK");
  if (text == nullptr) return plan;
  plan.kills = std::strncmp(text, "kill ", 5) == 0;
  plan.slows = std::strncmp(text, "slow ", 5) == 0;
  if (!plan.kills && !plan.slows) plan.error = std::atoi(text);
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
  if (plan.slows) {
    ::usleep(200000);
    return false;
  }
  errno = plan.error;
  return true;
}

bool strikes(int fd) {
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = ::readlink(link.c_str(), path.data(), path.size());
  return length > 0 && strikes(std::string_view(path.data(), static_cast<size_t>(length)));
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* bytes, size_t count) {
  static auto* real = next<ssize_t(int, const void*, size_t)>("write");
  return strikes(fd) ? -1 : real(fd, bytes, count);
}

int fsync(int fd) {
  static auto* real = next<int(int)>("fsync");
  return strikes(fd) ? -1 : real(fd);
}

int rename(const char* from, const char* to) noexcept {
  static auto* real = next<int(const char*, const char*)>("rename");
  return strikes(to) ? -1 : real(from, to);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static auto* real = next<int(const char*, mode_t)>("mkdir");
  return strikes(path) ? -1 : real(path, mode);
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  static auto* real = next<int(int, const char*, int)>("unlinkat");
  const bool stands_alone = path[0] == '/' || folder < 0;
  return (stands_alone ? strikes(path) : strikes(folder)) ? -1 : real(folder, path, flags);
}

int remove(const char* path) noexcept {
  static auto* real = next<int(const char*)>("remove");
  return strikes(path) ? -1 : real(path);
}
}
