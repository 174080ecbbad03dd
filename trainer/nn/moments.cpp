#include "trainer/nn/moments.h"

#include <numeric>
#include <vector>

#include "trainer/nn/host_values.h"

namespace largo::nn {

Moments pool(std::span<const int64_t> counts, const torch::Tensor& means,
             const torch::Tensor& variances) {
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  std::vector<double> shares;
  for (const int64_t count : counts) {
    shares.push_back(total > 0 ? static_cast<double>(count) / static_cast<double>(total) : 0);
  }
  const torch::Tensor share = host_values(shares, means.device()).unsqueeze(1);  // [sets, 1]
  const torch::Tensor mean = (share * means).sum(0);
  return {total, mean, (share * (variances + (means - mean).square())).sum(0)};
}

double unbiased_factor(int64_t count) {
  return count > 1 ? static_cast<double>(count) / static_cast<double>(count - 1) : 1;
}

}  // namespace largo::nn
