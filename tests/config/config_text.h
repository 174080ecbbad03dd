// Configurations for the tests of the reader.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/load.h"

namespace largo::config {

// Loads; every key that has no default is given.
inline const std::string kSmallest =
    "data: {kind: synthetic}\n"
    "model: {name: mlp}\n"
    "batch: {global: 64}\n"
    "lr: {base: 0.1, base_batch: 64}\n"
    "train: {length: 1ep}\n";

// What load_config says; empty where it has nothing to say.
inline std::string errors_of(const std::string& bytes,
                             const std::vector<std::string>& overrides = {},
                             const Environment& environment = process_environment()) {
  try {
    load_config({"run.yaml", bytes}, overrides, environment);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return {};
}

}  // namespace largo::config
