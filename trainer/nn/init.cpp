#include "trainer/nn/init.h"

#include "trainer/base/keyed_random.h"

namespace largo::nn {

namespace {

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
  const torch::Tensor values = torch::empty(parameter.sizes(), torch::kFloat64);
  double* const data = values.data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = draw(random);
  parameter.copy_(values);
}

}  // namespace

void fill_normal(torch::Tensor parameter, std::string_view name, uint64_t seed, double std) {
  fill(parameter, name, seed, [std](KeyedRandom& random) { return std * random.normal(); });
}

void fill_uniform(torch::Tensor parameter, std::string_view name, uint64_t seed, double bound) {
  fill(parameter, name, seed,
       [bound](KeyedRandom& random) { return bound * (2 * random.uniform() - 1); });
}

int64_t fan_in(const torch::Tensor& weight) { return weight.numel() / weight.size(0); }

int64_t fan_out(const torch::Tensor& weight) { return weight.numel() / weight.size(1); }

}  // namespace largo::nn
