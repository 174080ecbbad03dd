#include <cstdio>
#include <string>

#include "trainer/commands/commands.h"
#include "trainer/commands/setup.h"
#include "trainer/config/config_print.h"

namespace largo::commands {

namespace {

config::LoadedConfig load(const ConfigArguments& arguments) {
  config::LoadedConfig loaded =
      config::load_config(read_config_file(arguments.path), arguments.overrides);
  for (const std::string& note : loaded.notes) std::fprintf(stderr, "%s\n", note.c_str());
  return loaded;
}

const char* effect_name(Effect effect) {
  switch (effect) {
    case Effect::kTrajectory:
      return "trajectory";
    case Effect::kSpeed:
      return "speed";
    case Effect::kOutput:
      return "output";
  }
  return "";
}

void print_schema(const Option& option) {
  std::string applies;
  for (const std::string& kind : option.info.applies.kinds) {
    applies += (applies.empty() ? option.info.applies.kind_key + ": " : ", ") + kind;
  }
  std::printf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", option.key.c_str(), option.type.c_str(),
              option.legal.c_str(),
              option.info.required ? "(required)" : option.default_text.c_str(),
              option.info.unit.c_str(), applies.c_str(), effect_name(option.info.effect),
              option.info.description.c_str());
}

}  // namespace

int run_config_check(const ConfigCheckArguments& arguments) {
  const config::LoadedConfig loaded = load(arguments.config);
  const Catalogs catalogs = make_catalogs();
  Log log;
  const std::string index = data_index(loaded, catalogs, log);
  const Prepared prepared = prepare(loaded, catalogs, index, arguments.ranks);
  const BatchPlan& plan = prepared.plan;
  std::printf("%s is right for %lld rank%s: %s; %s; %s\n", arguments.config.path.c_str(),
              static_cast<long long>(arguments.ranks), arguments.ranks == 1 ? "" : "s",
              plan.describe().c_str(), prepared.describe_steps(loaded.values).c_str(),
              prepared.describe_lr(loaded.values).c_str());
  return 0;
}

int run_config_print(const ConfigPrintArguments& arguments) {
  std::fputs(config::print_config(load(arguments.config), arguments.ranks).c_str(), stdout);
  return 0;
}

int run_config_schema() {
  config::RunConfig defaults;
  const OptionTable table = config::make_table(defaults);
  std::printf("key\ttype\tlegal\tdefault\tunit\tapplies to\ta change alters\tdescription\n");
  for (const Option& option : table.options()) {
    print_schema(option);
    if (!option.rows) continue;
    for (const Option& of_row : option.rows->names()) print_schema(of_row);
  }
  return 0;
}

}  // namespace largo::commands
