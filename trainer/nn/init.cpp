#include "trainer/nn/init.h"

#include <algorithm>
#include <cmath>

#include "trainer/base/keyed_random.h"

namespace largo::nn {

namespace {

constexpr int64_t kValuesPerPart = int64_t{1} << 20;

// 64-bit FNV-1a.
uint64_t hash(std::string_view text) {
  uint64_t value = 0xcbf29ce484222325u;
  for (const char character : text) {
    value = (value ^ static_cast<unsigned char>(character)) * 0x100000001b3u;
  }
  return value;
}

template <class Draw>
void fill(torch::Tensor parameter, std::string_view name, uint64_t seed, const Draw& draw) {
  const torch::NoGradGuard no_grad;
  KeyedRandom random(seed, Purpose::kInit, 0, hash(name));
  // In parts: a whole layer in double precision beside the model would be the program's peak.
  const int64_t rows = std::max<int64_t>(1, kValuesPerPart * parameter.size(0) / parameter.numel());
  for (torch::Tensor part : parameter.split(rows)) {
    const torch::Tensor values = torch::empty(part.sizes(), torch::kFloat64);
    double* const data = values.data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); ++i) data[i] = draw(random);
    part.copy_(values);
  }
}

}  // namespace

void fill_normal(torch::Tensor parameter, std::string_view name, uint64_t seed, double std) {
  fill(parameter, name, seed, [std](KeyedRandom& random) { return std * random.normal(); });
}

void fill_uniform(torch::Tensor parameter, std::string_view name, uint64_t seed, double bound) {
  fill(parameter, name, seed,
       [bound](KeyedRandom& random) { return bound * (2 * random.uniform() - 1); });
}

void fill_convolutions(torch::nn::Module& model, uint64_t seed) {
  for (auto& item : model.named_parameters()) {
    if (item.value().dim() != 4) continue;
    fill_normal(item.value(), item.key(), seed, std::sqrt(2.0 / fan_out(item.value())));
  }
}

void fill_classifier(torch::nn::LinearImpl& layer, const std::string& name, uint64_t seed) {
  fill_normal(layer.weight, name + ".weight", seed, 0.01);
  torch::nn::init::zeros_(layer.bias);
}

int64_t fan_in(const torch::Tensor& weight) { return weight.numel() / weight.size(0); }

int64_t fan_out(const torch::Tensor& weight) { return weight.numel() / weight.size(1); }

}  // namespace largo::nn
