// What is wrong with a configuration, and where.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/error.h"

namespace largo::config {

// A file as it was read (by rank 0, for all ranks): the name is for messages only.
struct SourceText {
  std::string name;
  std::string bytes;
};

struct Position {
  int line = 0;    // from 1; 0: nowhere
  int column = 0;  // in bytes, from 1
};

struct Diagnostic {
  std::string file;         // the file's name, or "override 2"
  int line = 0;             // from 1; 0 in overrides
  int column = 0;           // in characters, from 1; 0 in overrides
  std::string key;          // full path; empty for what concerns the text as YAML
  std::string message;      // what is wrong and what is legal
  std::string source_line;  // that line of the file (of long ones the part around the column), or
                            // the whole override
  int caret = 0;            // characters of source_line before the place
  int override_number = 0;  // from 1; 0: in the file

  // file:line:column: key: message, then the source line and a caret below the place;
  // for overrides: override 2: lr.base=0.x: message.
  std::string text() const;
};

// Further problems are not looked for: a file with so many has one cause.
inline constexpr size_t kMaxProblems = 100;

// Everything that is wrong with a configuration: sorted by place, each problem once. All ranks
// parse the same bytes, so all of them throw it.
class ConfigError : public AgreedError {
 public:
  explicit ConfigError(std::vector<Diagnostic> diagnostics);

  const std::vector<Diagnostic>& diagnostics() const { return diagnostics_; }

 private:
  std::vector<Diagnostic> diagnostics_;
};

// The lines of a text, and diagnostics in it. `source` must outlive this object.
class SourceLines {
 public:
  explicit SourceLines(const SourceText& source);

  int size() const { return static_cast<int>(starts_.size()); }
  std::string_view line(int number) const;  // from 1; without its line break
  Position position_of(size_t offset) const;
  Diagnostic diagnostic(Position at, std::string key, std::string message) const;

 private:
  const SourceText& source_;
  std::vector<size_t> starts_;
};

Diagnostic override_diagnostic(int number, const std::string& argument, std::string key,
                               std::string message);

// For names and keys in messages: control characters become '?', long texts are cut.
std::string shown(std::string_view text);

}  // namespace largo::config
