#include "trainer/config/load.h"

#include <filesystem>
#include <utility>

namespace largo::config {

namespace {

// A run without a name has its file's, less the ending.
void name_run(OptionTable& table, const std::string& file, const RunOptions& run,
              ReadResult& result) {
  if (!run.name.empty() || result.refused.contains("run.name")) return;
  const std::string stem = std::filesystem::path(file).stem().string();
  if (const auto wrong = table.find("run.name")->set({.scalar = stem})) {
    result.add_owner_problems(
        {{"run.name", "is not given, and the file's name will not do: " + shown(*wrong)}});
  }
}

// What depends on the kind of optimizer and was not given.
void complete_optimizer(const OptionTable& table, RunConfig& config, ReadResult& result) {
  config.optimizer = optim::with_defaults(std::move(config.optimizer));
  const std::string scaling = "lr.scaling";
  if (result.provenance.of(scaling).kind != Origin::Kind::kDefault ||
      result.refused.contains(scaling)) {
    return;
  }
  if (const auto rule = optim::default_scaling(config.optimizer)) {
    config.lr.scaling = *rule;
    return;
  }
  config.lr.scaling = optim::ScalingRule::kNone;
  result.add_owner_problems(
      {{scaling, concat("must be given with optimizer ", config.optimizer.kind,
                        ", which has no usual rule; legal: ", table.find(scaling)->type)}});
}

}  // namespace

LoadedConfig load_config(const SourceText& file, const std::vector<std::string>& overrides,
                         const Environment& environment) {
  LoadedConfig config;
  OptionTable table = make_table(config.values);
  ReadResult result = read_table(table, file, overrides, environment);
  complete_optimizer(table, config.values, result);
  result.add_owner_problems(check(config.values));
  name_run(table, file.name, config.values.run, result);
  if (!result.problems.empty()) throw ConfigError(std::move(result.problems));
  config.provenance = std::move(result.provenance);
  config.notes = std::move(result.notes);
  return config;
}

}  // namespace largo::config
