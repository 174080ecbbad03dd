#include "trainer/nn/dropout.h"

#include "comm/base/error.h"
#include "trainer/base/keyed_random.h"
#include "trainer/nn/host_values.h"
#include "trainer/nn/parallel.h"

namespace largo::nn {

namespace {

// Seeds of layers lie this far apart: further than those of any two runs.
constexpr uint64_t kLayerStride = 0x9e3779b97f4a7c15u;

void check_probability(double probability) {
  LARGO_CHECK(probability >= 0 && probability < 1, "dropout probability ", probability);
}

}  // namespace

Dropout::Dropout(double probability, uint64_t seed, uint64_t layer)
    : probability(probability), seed_(seed + layer * kLayerStride) {
  check_probability(probability);
}

torch::Tensor Dropout::forward(const torch::Tensor& x, const StepContext& context) const {
  check_probability(probability);
  const int64_t samples = x.size(0);
  if (!context.training || probability == 0 || samples == 0) return x;
  LARGO_CHECK(context.keys.size() == static_cast<size_t>(samples), context.keys.size(),
              " sample keys for ", samples, " samples");
  const torch::Tensor keep = send(draw(context.keys, x.numel() / samples, x.device()), x.device());
  return x * keep.view(x.sizes()).to(x.scalar_type()).mul_(1 / (1 - probability));
}

torch::Tensor Dropout::draw(std::span<const SampleKey> keys, int64_t values,
                            torch::Device device) const {
  const auto samples = static_cast<int64_t>(keys.size());
  const auto dropped_below = static_cast<uint64_t>(probability * 0x1p32);
  const torch::Tensor keep = empty_for(device, {samples, values}, torch::kBool);
  bool* const data = keep.mutable_data_ptr<bool>();
  in_pieces(samples, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const SampleKey& key = keys[static_cast<size_t>(i)];
      KeyedRandom random(seed_, Purpose::kDropout, static_cast<uint32_t>(key.epoch),
                         static_cast<uint64_t>(key.index));
      bool* const row = data + i * values;
      for (int64_t j = 0; j < values; ++j) row[j] = random.next_u32() >= dropped_below;
    }
  });
  return keep;
}

}  // namespace largo::nn
