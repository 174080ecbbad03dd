// What an optimizer's step is computed with.
#pragma once

#include <optional>

namespace largo::optim {

struct Rates {
  // A learning rate alone will do: NOLINTNEXTLINE(google-explicit-constructor)
  Rates(double the_lr, std::optional<double> the_momentum = {},
        std::optional<double> the_weight_decay = {})
      : lr(the_lr), momentum(the_momentum), weight_decay(the_weight_decay) {}

  double lr;
  // Where they are scheduled; empty: the options'. Momentum is the first of the betas for the
  // kinds that have some.
  std::optional<double> momentum;
  std::optional<double> weight_decay;
};

}  // namespace largo::optim
