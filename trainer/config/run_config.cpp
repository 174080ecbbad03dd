#include "trainer/config/run_config.h"

#include <utility>

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

std::vector<OptionProblem> check(const RunConfig& config) {
  std::vector<OptionProblem> all;
  for (auto& found :
       {check(config.data), check(config.model), check(config.batch), check(config.optimizer),
        check(config.lr), optim::check_scaling(config.lr, config.optimizer), check(config.train)}) {
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

}  // namespace largo::config
