#include "trainer/optim/optimizer.h"

#include <ATen/ATen.h>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

constexpr int64_t kAlignmentBytes = 64;  // a cache line, and the widest vector register

// Whether element i of the one lies in memory where element i of the other does. Dimensions of
// size 1 do not matter: a 1x1 convolution's weight is contiguous and channels_last at once.
bool same_layout(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// Zeros for all of `parameters`, as one piece of memory cut into aligned views like them.
std::vector<at::Tensor> flat_views_like(const std::vector<Parameter>& parameters) {
  if (parameters.empty()) return {};
  const at::TensorOptions dtype_and_device = parameters.front().tensor.options();
  const auto element_bytes = static_cast<int64_t>(dtype_and_device.dtype().itemsize());
  const int64_t alignment = kAlignmentBytes / element_bytes;
  std::vector<int64_t> offsets;
  int64_t total = 0;
  for (const Parameter& parameter : parameters) {
    LARGO_CHECK(parameter.tensor.is_non_overlapping_and_dense(), parameter.name,
                " is not dense in memory");
    LARGO_CHECK(parameter.tensor.options().type_equal(dtype_and_device) &&
                    parameter.tensor.device() == dtype_and_device.device(),
                parameter.name, " differs from ", parameters.front().name, " in dtype or device");
    offsets.push_back(total);
    total += (parameter.tensor.numel() + alignment - 1) / alignment * alignment;
  }
  const at::Tensor flat = at::zeros({total}, dtype_and_device.requires_grad(false));
  std::vector<at::Tensor> views;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& tensor = parameters[i].tensor;
    views.push_back(flat.as_strided(tensor.sizes(), tensor.strides(), offsets[i]));
  }
  return views;
}

// SGD in PyTorch's form: g' = g + decay * w, u = m * u + g', d = u (Nesterov: g' + m * u),
// w -= lr * d. A buffer u of zeros gives PyTorch's first step, u = g'.
class Sgd final : public Optimizer {
 public:
  Sgd(const OptimizerOptions& options, std::vector<Parameter> parameters)
      : options_(options), weights_(flat_views_like(parameters)) {
    const at::NoGradGuard no_grad;
    if (options.momentum > 0) momentum_ = flat_views_like(parameters);
    for (size_t i = 0; i < parameters.size(); ++i) {
      Parameter& parameter = parameters[i];
      weights_[i].copy_(parameter.tensor);
      parameter.tensor.set_data(weights_[i]);
      names_.push_back(parameter.name);
      const bool decays = options.decay_norm_and_bias || !parameter.norm_or_bias;
      (decays ? decayed_ : undecayed_).push_back(i);
    }
  }

  void step(std::span<const at::Tensor> gradients, double lr) override {
    LARGO_CHECK(gradients.size() == weights_.size(), gradients.size(), " gradients for ",
                weights_.size(), " parameters");
    for (size_t i = 0; i < weights_.size(); ++i) {
      LARGO_CHECK(gradients[i].defined(), names_[i], " has no gradient");
      LARGO_CHECK(same_layout(gradients[i], weights_[i]), "the gradient of ", names_[i],
                  " has sizes ", gradients[i].sizes(), ", strides ", gradients[i].strides(),
                  " and dtype ", gradients[i].dtype(), "; the parameter has ", weights_[i].sizes(),
                  ", ", weights_[i].strides(), " and ", weights_[i].dtype());
    }
    update(decayed_, options_.weight_decay, gradients, lr);
    update(undecayed_, 0, gradients, lr);
  }

  std::vector<std::pair<std::string, at::Tensor>> state() override {
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (size_t i = 0; i < momentum_.size(); ++i) {
      tensors.emplace_back(names_[i] + ".momentum", momentum_[i]);
    }
    return tensors;
  }

 private:
  void update(const std::vector<size_t>& group, double weight_decay,
              std::span<const at::Tensor> gradients, double lr) {
    if (group.empty()) return;
    std::vector<at::Tensor> weights, grads, momentum;
    for (const size_t i : group) {
      weights.push_back(weights_[i]);
      grads.push_back(gradients[i]);
      if (!momentum_.empty()) momentum.push_back(momentum_[i]);
    }
    at::_fused_sgd_(weights, grads, momentum, weight_decay, options_.momentum, lr,
                    /*dampening=*/0, options_.nesterov, /*maximize=*/false,
                    /*is_first_step=*/false);
  }

  OptimizerOptions options_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> weights_;   // what the model's parameters are views of
  std::vector<at::Tensor> momentum_;  // empty without momentum
  std::vector<size_t> decayed_, undecayed_;
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options,
                                          std::vector<Parameter> parameters) {
  LARGO_CHECK(options.kind == "sgd", "optimizer kind ", options.kind);
  return std::make_unique<Sgd>(options, std::move(parameters));
}

at::Tensor grad_norm(std::span<const at::Tensor> gradients) {
  const at::NoGradGuard no_grad;
  if (gradients.empty()) return at::zeros({}, at::kDouble);
  if (gradients.front().is_cuda()) {  // two kernels for all tensors instead of two for each
    return at::linalg_vector_norm(
        at::stack(
            at::_foreach_norm(at::TensorList(gradients.data(), gradients.size()), 2, at::kDouble)),
        2);
  }
  std::vector<at::Tensor> norms;
  for (const at::Tensor& gradient : gradients) {
    // In the order of memory: a channels_last gradient is not copied.
    const at::Tensor flat = gradient.is_non_overlapping_and_dense()
                                ? gradient.as_strided({gradient.numel()}, {1})
                                : gradient.reshape({-1});
    norms.push_back(at::linalg_vector_norm(flat, 2, at::OptionalIntArrayRef(), false, at::kDouble));
  }
  return at::linalg_vector_norm(at::stack(norms), 2);
}

}  // namespace largo::optim
