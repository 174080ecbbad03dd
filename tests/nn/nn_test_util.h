// Shared by the tests of trainer/nn.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "trainer/nn/model.h"
#include "trainer/nn/norm.h"

namespace largo::nn {

// |a - b| / |b| over the whole tensor; |a - b| where b is zero or empty.
inline double relative_error(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor reference = b.to(torch::kFloat64);
  const double difference = (a.to(torch::kFloat64) - reference).norm().item<double>();
  const double norm = reference.norm().item<double>();
  return norm > 0 ? difference / norm : difference;
}

// A training context that owns its counts; by default the step is this one micro-batch.
class TrainingStep {
 public:
  explicit TrainingStep(std::vector<int64_t> samples_per_rank, int64_t step_samples = 0)
      : samples_(std::move(samples_per_rank)) {
    context_.training = true;
    context_.samples_per_rank = samples_;
    context_.step_samples = step_samples > 0
                                ? step_samples
                                : std::accumulate(samples_.begin(), samples_.end(), int64_t{0});
  }
  TrainingStep(const TrainingStep&) = delete;
  TrainingStep& operator=(const TrainingStep&) = delete;

  const StepContext& context() const { return context_; }

 private:
  std::vector<int64_t> samples_;
  StepContext context_;
};

// A model of one normalization layer.
class OneNorm final : public Model {
 public:
  OneNorm(const NormOptions& options, int64_t channels, comm::Communicator& group)
      : norm(register_module("bn1", make_norm(options, channels, group))) {}
  torch::Tensor forward(const torch::Tensor& x, const StepContext& context) override {
    return norm->forward(x, context);
  }
  std::shared_ptr<Norm> norm;
};

inline torch::Tensor random_tensor(at::IntArrayRef sizes, int64_t seed,
                                   torch::Dtype dtype = torch::kFloat64) {
  auto generator = at::detail::createCPUGenerator(seed);
  return torch::randn(sizes, generator, torch::kFloat64).to(dtype);
}

}  // namespace largo::nn
