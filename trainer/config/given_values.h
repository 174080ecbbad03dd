// What a file and the command line give, key by key, before any value is parsed.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/config/diagnostic.h"
#include "trainer/config/yaml_tree.h"

namespace largo::config {

// Where a value comes from.
struct Origin {
  enum class Kind { kDefault, kFile, kOverride };
  Kind kind = Kind::kDefault;
  Position key_at = {};     // in the file
  Position value_at = {};   // in the file
  int override_number = 0;  // from 1
};

struct GivenValue {
  OptionValue value;
  bool is_default = false;  // "augment: none": every key of the section is as if not given
  Origin origin;
};

struct GivenValues {
  std::map<std::string, GivenValue> file;
  std::map<std::string, GivenValue> overrides;
  std::map<std::string, Position> sections;  // of the file, by path; "" is the root
  std::set<std::string> refused;  // paths with a problem already, and keys that a typo meant
  std::vector<Diagnostic> problems;
  bool file_complete = true;  // false: the file could not be read to its end
};

// All lists of maps of a configuration together may have so many rows.
inline constexpr size_t kMaxRows = 200;

// Gives the table's lists of maps as many rows as are given; an override's list takes the place of
// the file's. Throws AgreedError{kUsage} for an override without "=". All else that is wrong is in
// `problems`.
GivenValues collect_given(OptionTable& table, const SourceText& file,
                          const std::vector<std::string>& overrides);

}  // namespace largo::config
