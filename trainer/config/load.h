// A run's configuration from its file and the command line.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/provenance.h"
#include "trainer/config/run_config.h"
#include "trainer/config/table_reader.h"

namespace largo::config {

struct LoadedConfig {
  RunConfig values;
  Provenance provenance;
  std::vector<std::string> notes;  // to tell the user: what overrides dropped from the file

  // For what turns out wrong once the world size or the data are known.
  ConfigError error(const std::vector<OptionProblem>& problems) const {
    return provenance.error(problems);
  }
};

// Fills in run.name from the file's name where it is not given. Every rank passes rank 0's bytes.
// Throws ConfigError with everything that is wrong: YAML, keys, types, ranges, what the owners
// check. Throws AgreedError{kUsage} for an override without "=".
LoadedConfig load_config(const SourceText& file, const std::vector<std::string>& overrides,
                         const Environment& environment = process_environment());

}  // namespace largo::config
