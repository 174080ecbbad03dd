// To be preloaded: files that cannot be opened for a while, as on a file system that hangs. Opening
// one with LARGO_TEST_HELD in its path waits for as long as the file LARGO_TEST_GATE exists; who
// waits writes a line "RANK PATH" to the file LARGO_TEST_WAITS first. Signals do not end the wait.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using Open = int(const char*, int, ...);

Open* next(const char* name) { return reinterpret_cast<Open*>(dlsym(RTLD_NEXT, name)); }

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void say_who_waits(const char* path) {
  const std::string line = variable("OMPI_COMM_WORLD_RANK") + " " + path + "\n";
  const int file = next("open")(variable("LARGO_TEST_WAITS").c_str(),
                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (::write(file, line.data(), line.size()) < 0) std::abort();
  ::close(file);
}

void wait_for_gate(const char* path) {
  static const std::string held = variable("LARGO_TEST_HELD");
  static const std::string gate = variable("LARGO_TEST_GATE");
  if (held.empty() || std::strstr(path, held.c_str()) == nullptr) return;
  if (::access(gate.c_str(), F_OK) != 0) return;
  say_who_waits(path);
  while (::access(gate.c_str(), F_OK) == 0) ::usleep(10000);
}

bool has_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int open_later(const char* name, const char* path, int flags, mode_t mode) {
  wait_for_gate(path);
  return next(name)(path, flags, mode);
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = has_mode(flags) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open_later("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = has_mode(flags) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open_later("open64", path, flags, mode);
}
}
