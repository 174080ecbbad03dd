// Configurations as text: to read back, to compare, to tell apart.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/config/load.h"

namespace largo::config {

// YAML that reads back to the same configuration: every key that applies and has a value, with
// where it comes from ("default", "run.yaml:12", "override") as a comment. Variables in paths are
// expanded. Values that lr.scaling changes have the effective ones beside them; with batch.per_rank
// they are known for so many `ranks` only.
std::string print_config(const LoadedConfig& config, std::optional<int64_t> ranks = {});

// The same for any table.
std::string print_table(const OptionTable& table,
                        const std::function<std::string(const std::string& key)>& comment);

// Equal for configurations that train the same way: FNV-1a, 64 bits, 16 hexadecimal digits, over
// the values of all keys that alter the trajectory.
std::string config_hash(const RunConfig& config);

// A key that alters the trajectory, and its values, printed; none where it has none.
struct KeyChange {
  std::string key;
  std::optional<std::string> before;
  std::optional<std::string> after;
};
std::vector<KeyChange> trajectory_changes(const RunConfig& before, const RunConfig& after);

// "optimizer.momentum: 0.9 -> 0.95" for every key that alters the trajectory and differs.
std::vector<std::string> trajectory_differences(const RunConfig& before, const RunConfig& after);

}  // namespace largo::config
