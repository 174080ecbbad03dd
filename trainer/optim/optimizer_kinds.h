// One maker for every family of optimizers, with options from with_defaults(); for make_optimizer.
#pragma once

#include <memory>
#include <vector>

#include "trainer/optim/optimizer.h"

namespace largo::optim {

std::unique_ptr<Optimizer> make_sgd(const OptimizerOptions& options,
                                    std::vector<Parameter> parameters);
std::unique_ptr<Optimizer> make_adam(const OptimizerOptions& options,  // adam, adamw
                                     std::vector<Parameter> parameters);
std::unique_ptr<Optimizer> make_adagrad(const OptimizerOptions& options,
                                        std::vector<Parameter> parameters);
std::unique_ptr<Optimizer> make_adadelta(const OptimizerOptions& options,
                                         std::vector<Parameter> parameters);
std::unique_ptr<Optimizer> make_rmsprop(const OptimizerOptions& options,
                                        std::vector<Parameter> parameters);
std::unique_ptr<Optimizer> make_lion(const OptimizerOptions& options,
                                     std::vector<Parameter> parameters);
std::unique_ptr<Optimizer> make_lars(const OptimizerOptions& options,
                                     std::vector<Parameter> parameters);
std::unique_ptr<Optimizer> make_lamb(const OptimizerOptions& options,
                                     std::vector<Parameter> parameters);

}  // namespace largo::optim
