#include "trainer/nn/running_stats.h"

namespace largo::nn {

RunningStatistics::RunningStatistics(Model& model) : layers_(batch_norms_of(model)) {
  int64_t values = 0;
  auto options = torch::TensorOptions();
  for (const BatchNorm* const layer : layers_) {
    values += 2 * layer->running_mean.numel();
    options = layer->running_mean.options();
  }
  pending_ = torch::zeros({values}, options);
  int64_t offset = 0;
  for (BatchNorm* const layer : layers_) {
    const int64_t channels = layer->running_mean.numel();
    layer->deposit_into(pending_.narrow(0, offset, channels),
                        pending_.narrow(0, offset + channels, channels));
    offset += 2 * channels;
  }
}

void RunningStatistics::begin_step() { pending_.zero_(); }

void RunningStatistics::apply() { BatchNorm::update_running(layers_); }

}  // namespace largo::nn
