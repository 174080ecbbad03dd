#include "trainer/optim/optimizer.h"

#include <ATen/ATen.h>

#include "comm/base/error.h"
#include "trainer/optim/optimizer_kinds.h"
#include "trainer/optim/tensor_norms.h"

namespace largo::optim {

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& given,
                                          std::vector<Parameter> parameters) {
  const OptimizerOptions options = with_defaults(given);
  const std::string& kind = options.kind;
  if (kind == "sgd") return make_sgd(options, std::move(parameters));
  if (kind == "adam" || kind == "adamw") return make_adam(options, std::move(parameters));
  if (kind == "adagrad") return make_adagrad(options, std::move(parameters));
  if (kind == "adadelta") return make_adadelta(options, std::move(parameters));
  if (kind == "rmsprop") return make_rmsprop(options, std::move(parameters));
  if (kind == "lion") return make_lion(options, std::move(parameters));
  if (kind == "lars") return make_lars(options, std::move(parameters));
  LARGO_CHECK(kind == "lamb", "optimizer kind ", kind);
  return make_lamb(options, std::move(parameters));
}

at::Tensor grad_norm(std::span<const at::Tensor> gradients) {
  const at::NoGradGuard no_grad;
  if (gradients.empty()) return at::zeros({}, at::kDouble);
  return at::linalg_vector_norm(tensor_norms(at::TensorList(gradients.data(), gradients.size())),
                                2);
}

}  // namespace largo::optim
