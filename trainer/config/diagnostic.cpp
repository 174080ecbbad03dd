#include "trainer/config/diagnostic.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace largo::config {

namespace {

constexpr size_t kMaxShownLine = 120;  // bytes
constexpr size_t kMaxShownName = 80;   // bytes

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

int count_characters(std::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

auto place(const Diagnostic& d) { return std::tie(d.override_number, d.line, d.column); }

std::vector<Diagnostic> in_order(std::vector<Diagnostic> diagnostics) {
  std::stable_sort(diagnostics.begin(), diagnostics.end(),
                   [](const auto& a, const auto& b) { return place(a) < place(b); });
  const auto same = [](const Diagnostic& a, const Diagnostic& b) {
    return place(a) == place(b) && a.key == b.key && a.message == b.message;
  };
  diagnostics.erase(std::unique(diagnostics.begin(), diagnostics.end(), same), diagnostics.end());
  return diagnostics;
}

std::string all_texts(const std::vector<Diagnostic>& diagnostics) {
  std::string text;
  for (const Diagnostic& diagnostic : diagnostics) {
    if (!text.empty()) text += '\n';
    text += diagnostic.text();
  }
  return text;
}

}  // namespace

std::string Diagnostic::text() const {
  if (override_number > 0) {
    const bool repeats_key = key.empty() || source_line.starts_with(key + "=");
    return concat(file, ": ", shown(source_line), ": ", repeats_key ? "" : key + ": ", message);
  }
  return concat(file, ":", line, ":", column, ": ", key, key.empty() ? "" : ": ", message, "\n  ",
                source_line, "\n  ", std::string(static_cast<size_t>(caret), ' '), "^");
}

ConfigError::ConfigError(std::vector<Diagnostic> diagnostics)
    : AgreedError(ExitCode::kConfig, all_texts(in_order(diagnostics))),
      diagnostics_(in_order(std::move(diagnostics))) {}

SourceLines::SourceLines(const SourceText& source) : source_(source) {
  starts_.push_back(0);
  for (size_t i = 0; i < source.bytes.size(); ++i) {
    if (source.bytes[i] == '\n') starts_.push_back(i + 1);
  }
}

std::string_view SourceLines::line(int number) const {
  const auto index = static_cast<size_t>(std::clamp(number, 1, size()) - 1);
  const std::string_view bytes = source_.bytes;
  const size_t end = index + 1 < starts_.size() ? starts_[index + 1] - 1 : bytes.size();
  std::string_view text = bytes.substr(starts_[index], end - starts_[index]);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

Position SourceLines::position_of(size_t offset) const {
  const auto next = std::upper_bound(starts_.begin(), starts_.end(), offset);
  return {static_cast<int>(next - starts_.begin()), static_cast<int>(offset - *(next - 1)) + 1};
}

Diagnostic SourceLines::diagnostic(Position at, std::string key, std::string message) const {
  const std::string_view text = line(at.line);
  const size_t place = std::min(static_cast<size_t>(std::max(at.column, 1) - 1), text.size());
  size_t begin = 0;
  size_t end = text.size();
  if (text.size() > kMaxShownLine) {
    begin = std::min(place - std::min(place, kMaxShownLine / 2), text.size() - kMaxShownLine);
    end = begin + kMaxShownLine;
    while (begin > 0 && is_continuation(text[begin])) --begin;
    while (end < text.size() && is_continuation(text[end])) ++end;
  }
  Diagnostic result{.file = source_.name,
                    .line = std::clamp(at.line, 1, size()),
                    .column = count_characters(text.substr(0, place)) + 1,
                    .key = std::move(key),
                    .message = std::move(message),
                    .source_line = concat(begin > 0 ? "..." : "", text.substr(begin, end - begin),
                                          end < text.size() ? "..." : ""),
                    .caret = count_characters(text.substr(begin, place - begin))};
  if (begin > 0) result.caret += 3;
  std::replace(result.source_line.begin(), result.source_line.end(), '\t', ' ');
  return result;
}

Diagnostic override_diagnostic(int number, const std::string& argument, std::string key,
                               std::string message) {
  return {.file = concat("override ", number),
          .key = std::move(key),
          .message = std::move(message),
          .source_line = argument,
          .override_number = number};
}

std::string shown(std::string_view text) {
  size_t end = std::min(text.size(), kMaxShownName);
  while (end < text.size() && is_continuation(text[end])) ++end;
  std::string result(text.substr(0, end));
  std::replace_if(result.begin(), result.end(), is_control, '?');
  return end < text.size() ? result + "..." : result;
}

}  // namespace largo::config
