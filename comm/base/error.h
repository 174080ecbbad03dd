// Errors that end a run, and the exit code each one ends it with.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace largo {

// Exit codes of every Largo program (sysexits where one fits). Scripts rely on the numbers.
enum class ExitCode : int {
  kDone = 0,
  kUsage = 2,          // unknown subcommand or flag
  kBadData = 65,       // input that is there but cannot be right
  kInputMissing = 66,  // input that is not there
  kUnavailable = 69,   // GPU, NCCL, launcher, a run directory in use
  kInternal = 70,      // a bug in Largo
  kIo = 74,            // output that cannot be written
  kStopped = 75,       // stopped by request, checkpoint saved: submit again
  kNumerical = 76,     // NaN or Inf: submitting again would only repeat it
  kConfig = 78,        // wrong configuration
};

// An error with the exit code that it ends the program with. The message is complete: it names
// the value, the place and what is legal.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

// An error that every rank of the job throws at the same point, with no collective under way: the
// job ends in order, and one rank says why. (Any other error ends the job at once, because the
// other ranks may be waiting in a collective.)
class AgreedError : public Error {
 public:
  using Error::Error;
};

// The exit code of any exception: an Error's own, kIo for std::filesystem's, kInternal for others.
ExitCode exit_code(const std::exception& error) noexcept;

// The parts streamed one after the other: concat("rank ", 3, " of ", 4).
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(ExitCode code, const Parts&... parts) {
  throw Error(code, concat(parts...));
}

namespace detail {
[[noreturn]] void fail_check(const char* file, int line, const char* condition,
                             const std::string& message);
}  // namespace detail

// For what can only be false through a bug: throws Error{kInternal} with file and line.
#define LARGO_CHECK(condition, ...)                                                              \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      ::largo::detail::fail_check(__FILE__, __LINE__, #condition, ::largo::concat(__VA_ARGS__)); \
    }                                                                                            \
  } while (false)

}  // namespace largo
