// Reads a YAML file and key=value overrides into any table of options.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/config/diagnostic.h"
#include "trainer/config/provenance.h"

namespace largo::config {

// The value of an environment variable; nullptr where it is not set.
using Environment = std::function<const char*(const std::string& name)>;
Environment process_environment();

struct ReadResult {
  Provenance provenance;
  std::vector<Diagnostic> problems;
  std::vector<std::string> notes;  // what an override dropped from the file
  bool file_complete = true;       // false after a syntax error: much may be missing
  std::set<std::string> refused;   // keys and sections with a problem

  // Adds what the owners find wrong with the values, but for sections that hold a problem already:
  // there the owner saw defaults in place of what the user meant.
  void add_owner_problems(const std::vector<OptionProblem>& found);
};

// Precedence: defaults < file < overrides. An override of a kind drops the file's keys that belong
// to other kinds. All problems are found in one pass; fields with a problem keep their defaults.
// Throws AgreedError{kUsage} for an override without "=".
ReadResult read_table(OptionTable& table, const SourceText& file,
                      const std::vector<std::string>& overrides,
                      const Environment& environment = process_environment());

// Whether the option means something under the present value of its kind key, and so does the list
// that it is in a row of.
bool applies(const OptionTable& table, const Option& option);

}  // namespace largo::config
