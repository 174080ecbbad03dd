#include "trainer/config/run_config.h"

#include <algorithm>
#include <utility>

#include "comm/base/suggest.h"
#include "trainer/config/key_tree.h"
#include "trainer/determinism.h"
#include "trainer/optim/scaling.h"

namespace largo::config {

OptionTable make_table(RunConfig& config) {
  OptionTable table;
  declare_options(table, config.run);
  declare_options(table, config.data);
  declare_options(table, config.model);
  declare_options(table, config.batch);
  declare_options(table, config.optimizer);
  declare_options(table, config.lr);
  declare_options(table, config.loss);
  declare_options(table, config.train);
  declare_options(table, config.eval);
  declare_options(table, config.checkpoint);
  declare_options(table, config.comm);
  return table;
}

namespace {

// checkpoint.allow must name keys that a resumed run could not change otherwise.
std::vector<OptionProblem> check_allowed(const RunConfig& config) {
  RunConfig copy = config;
  const OptionTable table = make_table(copy);
  std::vector<std::string> known;
  for (const Option& option : table.options()) {
    if (option.info.effect == Effect::kTrajectory) known.push_back(option.key);
  }
  std::vector<OptionProblem> problems;
  for (const std::string& name : config.checkpoint.allow) {
    const bool is_known = std::any_of(known.begin(), known.end(), [&](const std::string& key) {
      return key == name || is_below(key, name);
    });
    if (is_known) continue;
    const bool is_free = table.find(name) != nullptr;
    problems.push_back(
        {"checkpoint.allow", concat('"', name, '"',
                                    is_free ? " alters no trajectory and may change anyway"
                                            : " is no key or section that alters the trajectory",
                                    "; legal: lr.base, lr.policy, …", did_you_mean(name, known))});
  }
  return problems;
}

}  // namespace

std::vector<OptionProblem> check(const RunConfig& config) {
  std::vector<OptionProblem> all = check_allowed(config);
  for (auto& found :
       {check(config.run.process), check(config.data), check(config.model), check(config.batch),
        check(config.optimizer), check(config.lr),
        optim::check_scaling(config.lr, config.optimizer), check(config.train),
        check_determinism(config.run, config.train, config.model.norm, config.comm)}) {
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

}  // namespace largo::config
