#include "comm/stop_signals.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

constexpr std::array<int, 4> kSignals = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT};

// Lock-free, so that a handler may use them.
std::atomic<bool> exists = false;
std::atomic<bool> deferred = false;
std::atomic<int> first = 0;
std::atomic<int64_t> first_ns = 0;
static_assert(std::atomic<int64_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

std::array<struct sigaction, kSignals.size()> before;

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

void say(const char* text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
}

void handle(int signal) {
  const int kept_errno = errno;
  constexpr int64_t kSameWishNs = 1'000'000'000;
  if (!deferred.load()) {
    const bool asked = signal == SIGUSR1 || signal == SIGUSR2;
    say(name_of_stop_signal(signal));
    say(asked ? ": stopped before training began; submit again\n"
              : ": ended before training began\n");
    ::_exit(asked ? static_cast<int>(ExitCode::kStopped) : 128 + signal);
  }
  int none = 0;
  if (first.compare_exchange_strong(none, signal)) {
    first_ns.store(now_ns());
  } else if (const int64_t since = first_ns.load(); since != 0 && now_ns() - since > kSameWishNs) {
    say(name_of_stop_signal(signal));
    say(": a second signal: ends at once\n");
    ::_exit(128 + signal);
  }
  errno = kept_errno;
}

}  // namespace

StopSignals::StopSignals() {
  LARGO_CHECK(!exists.exchange(true), "a second StopSignals");
  deferred = false;
  first = 0;
  first_ns = 0;
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) sigaddset(&action.sa_mask, signal);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    LARGO_CHECK(sigaction(kSignals[i], &action, &before[i]) == 0, "sigaction(", kSignals[i], ")");
    if (before[i].sa_handler == SIG_IGN) sigaction(kSignals[i], &before[i], nullptr);
  }
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before[i], nullptr);
  exists = false;
}

void StopSignals::defer() { deferred = true; }

void StopSignals::ignore() {
  for (const int signal : kSignals) ::signal(signal, SIG_IGN);
}

int StopSignals::received() const { return first.load(); }

const char* name_of_stop_signal(int signal) {
  switch (signal) {
    case SIGUSR1:
      return "SIGUSR1";
    case SIGUSR2:
      return "SIGUSR2";
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    default:
      return "a signal";
  }
}

}  // namespace largo::comm
