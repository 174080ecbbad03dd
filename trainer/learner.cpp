#include "trainer/learner.h"

#include "trainer/nn/state.h"

namespace largo {

Learner::Learner(std::shared_ptr<nn::Model> the_model, const optim::OptimizerOptions& options,
                 const EmaOptions& ema, int64_t global_batch)
    : model(std::move(the_model)), statistics(*model) {
  const std::vector<nn::NamedParameter> named = nn::named_parameters(*model);
  std::vector<optim::Parameter> to_optimize;
  to_optimize.reserve(named.size());
  parameters.reserve(named.size());
  for (const nn::NamedParameter& parameter : named) {
    to_optimize.push_back({parameter.name, parameter.tensor, parameter.norm_or_bias});
    parameters.push_back(parameter.tensor);
  }
  optimizer = optim::make_optimizer(options, std::move(to_optimize));
  if (ema.decay) average.emplace(*ema.decay, *ema.at_batch, global_batch, model_state());
}

Learner::NamedTensors Learner::model_state() const { return nn::state_tensors(*model); }

Learner::NamedTensors Learner::optimizer_state() {
  NamedTensors state = optimizer->state();
  if (average) {
    for (auto& tensor : average->state()) state.push_back(std::move(tensor));
  }
  return state;
}

}  // namespace largo
