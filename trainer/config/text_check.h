// Whether bytes are text that a YAML parser may be given.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace largo::config {

struct TextProblem {
  size_t offset = 0;
  std::string message;
};

// The first thing wrong: too large, UTF-16 or a byte-order mark, NUL, another control character
// (yaml-cpp takes byte 4 for the end of the file), a lone carriage return, not UTF-8, a tab in the
// indentation (yaml-cpp takes some of them).
std::optional<TextProblem> check_text(std::string_view bytes, size_t max_bytes);

}  // namespace largo::config
