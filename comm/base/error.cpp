#include "comm/base/error.h"

namespace largo {

ExitCode exit_code(const std::exception& error) noexcept {
  const auto* own = dynamic_cast<const Error*>(&error);
  return own ? own->code() : ExitCode::kInternal;
}

namespace detail {

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  throw Error(ExitCode::kInternal, concat(file, ":", line, ": ", condition, " does not hold",
                                          message.empty() ? "" : ": ", message));
}

}  // namespace detail
}  // namespace largo
