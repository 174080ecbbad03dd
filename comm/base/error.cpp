#include "comm/base/error.h"

#include <filesystem>

namespace largo {

ExitCode exit_code(const std::exception& error) noexcept {
  if (const auto* own = dynamic_cast<const Error*>(&error)) return own->code();
  if (dynamic_cast<const std::filesystem::filesystem_error*>(&error)) return ExitCode::kIo;
  return ExitCode::kInternal;
}

namespace detail {

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  throw Error(ExitCode::kInternal, concat(file, ":", line, ": ", condition, " does not hold",
                                          message.empty() ? "" : ": ", message));
}

}  // namespace detail
}  // namespace largo
