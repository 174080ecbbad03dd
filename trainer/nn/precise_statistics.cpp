#include "trainer/nn/precise_statistics.h"

#include <cstdint>

#include "comm/base/error.h"
#include "trainer/nn/moments.h"

namespace largo::nn {

PreciseStatistics::PreciseStatistics(Model& model) : layers_(batch_norms_of(model)) {}

void PreciseStatistics::begin() {
  remembered_.clear();
  workers_.clear();
  for (BatchNorm* const layer : layers_) {
    remembered_.push_back(layer->running_mean.clone());
    remembered_.push_back(layer->running_var.clone());
    layer->start_collecting();
  }
}

void PreciseStatistics::next_worker() {
  if (empty()) return;
  workers_.push_back(collected());
  for (BatchNorm* const layer : layers_) layer->start_collecting();
}

// Of each layer: count, means, variances.
torch::Tensor PreciseStatistics::collected() const {
  std::vector<torch::Tensor> mine;
  mine.reserve(3 * layers_.size());
  for (BatchNorm* const layer : layers_) {
    const Moments moments = layer->stop_collecting();
    mine.push_back(torch::full({1}, moments.count, moments.mean.options()));
    mine.push_back(moments.mean);
    mine.push_back(moments.variance);
  }
  return torch::cat(mine);
}

void PreciseStatistics::finish(comm::Communicator& world) {
  if (empty()) return;
  workers_.push_back(collected());
  const torch::Tensor all =
      world.all_gather(torch::stack(workers_)).flatten(0, 1);  // [ranks x workers, values]

  const torch::NoGradGuard no_grad;
  int64_t offset = 0;
  const auto next = [&](int64_t values) {
    const torch::Tensor part = all.narrow(1, offset, values);
    offset += values;
    return part;
  };
  for (BatchNorm* const layer : layers_) {
    const int64_t channels = layer->running_mean.numel();
    const torch::Tensor gathered = next(1).to(torch::kCPU, torch::kInt64).contiguous();
    const std::vector<int64_t> counts(gathered.const_data_ptr<int64_t>(),
                                      gathered.const_data_ptr<int64_t>() + gathered.numel());
    const torch::Tensor means = next(channels);
    const Moments pooled = pool(counts, means, next(channels));
    if (pooled.count == 0) continue;
    layer->running_mean.copy_(pooled.mean);
    layer->running_var.copy_(pooled.variance * unbiased_factor(pooled.count));
  }
}

void PreciseStatistics::restore() {
  LARGO_CHECK(remembered_.size() == 2 * layers_.size(), "nothing was remembered");
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < layers_.size(); ++i) {
    layers_[i]->running_mean.copy_(remembered_[2 * i]);
    layers_[i]->running_var.copy_(remembered_[2 * i + 1]);
  }
}

}  // namespace largo::nn
