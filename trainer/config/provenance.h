// Where every value of a configuration comes from, and so where a problem with it is to be shown.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/config/diagnostic.h"
#include "trainer/config/given_values.h"

namespace largo::config {

struct Provenance {
  SourceText file;
  std::vector<std::string> overrides;
  std::map<std::string, Origin> keys;        // given keys only; all others have their defaults
  std::map<std::string, Position> sections;  // of the file; "" is the root

  Origin of(const std::string& key) const;

  // "default", "run.yaml:12" or "override"
  std::string words(const std::string& key) const;

  // At the key, or where it is not given at the innermost row or section around it.
  Diagnostic diagnostic(const SourceLines& lines, const OptionProblem& problem) const;

  // For problems that show only later, when the world size or the data are known.
  ConfigError error(const std::vector<OptionProblem>& problems) const;
};

}  // namespace largo::config
