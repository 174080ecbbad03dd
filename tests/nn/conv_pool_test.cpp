#include "trainer/nn/conv_pool.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "trainer/nn/memory_format.h"
#include "trainer/nn/pool_kernels.h"

namespace largo::nn {
namespace {

struct Results {
  torch::Tensor y, dx, dweight, dbias;
};

torch::Tensor leaf(const torch::Tensor& value) { return value.detach().clone().requires_grad_(); }

template <class Forward>
Results run(const Forward& forward, const torch::Tensor& x, const torch::Tensor& weight,
            const torch::Tensor& bias, const torch::Tensor& dy) {
  const torch::Tensor in = leaf(x), w = leaf(weight), b = leaf(bias);
  const torch::Tensor y = forward(in, w, b);
  y.backward(dy.reshape(y.sizes()).to(y.scalar_type()));
  return {y.detach(), in.grad(), w.grad(), b.grad()};
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor wide = b.to(torch::kFloat64);
  const double norm = wide.norm().item<double>();
  return (a.to(torch::kFloat64) - wide).norm().item<double>() / (norm > 0 ? norm : 1);
}

// n images of c channels and side x side pixels, made into k channels by windows of 3 x 3.
using Case = std::tuple<int64_t, int64_t, int64_t, int64_t, bool>;
class ConvPool : public testing::TestWithParam<Case> {};

TEST_P(ConvPool, IsConvolutionAndPoolingOfFloat64) {
  const auto [n, c, side, k, flat] = GetParam();
  torch::manual_seed(3);
  const torch::Tensor x = channels_last(torch::randn({n, c, side, side}));
  const torch::Tensor weight = torch::randn({k, c, 3, 3}), bias = torch::randn({k});
  const int64_t pooled = (side - 2) / 2;
  const torch::Tensor dy = torch::randn({n, k, pooled, pooled});
  const Results own = run(flat ? conv_max_pool_flat : conv_max_pool, x, weight, bias, dy);
  const Results wide =
      run([](const auto& in, const auto& w,
             const auto& b) { return at::max_pool2d(at::conv2d(in, w, b), 2, 2); },
          x.to(torch::kFloat64), weight.to(torch::kFloat64), bias.to(torch::kFloat64), dy);
  ASSERT_EQ(own.y.numel(), wide.y.numel());
  EXPECT_LT(distance(own.y.reshape(wide.y.sizes()), wide.y), 1e-6);
  EXPECT_LT(distance(own.dx, wide.dx), 1e-6);
  EXPECT_LT(distance(own.dweight, wide.dweight), 1e-6);
  // Of sums that may cancel.
  const double error = (own.dbias.to(torch::kFloat64) - wide.dbias).abs().sum().item<double>();
  EXPECT_LE(error, 1e-6 * dy.abs().sum().item<double>());
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConvPool,
                         testing::Combine(testing::Values(0, 1, 3), testing::Values(1, 2),
                                          testing::Values(4, 7, 10), testing::Values(1, 5, 20, 50),
                                          testing::Bool()));

TEST(ConvPool, IsAtensInFloat64AndUnderEvaluationToo) {
  torch::manual_seed(4);
  const torch::Tensor x = channels_last(torch::randn({2, 3, 8, 8}, torch::kFloat64));
  const torch::Tensor weight = torch::randn({4, 3, 3, 3}, torch::kFloat64);
  const torch::Tensor bias = torch::randn({4}, torch::kFloat64);
  const torch::Tensor y = at::max_pool2d(at::conv2d(x, weight, bias), 2, 2);
  EXPECT_TRUE(torch::equal(conv_max_pool(x, weight, bias), y));
  EXPECT_TRUE(torch::equal(conv_max_pool_flat(x, weight, bias), y.flatten(1)));
}

TEST(ConvPool, BitsDoNotDependOnTheThreads) {
  torch::manual_seed(5);
  const torch::Tensor x = channels_last(torch::randn({9, 2, 12, 12}));
  const torch::Tensor weight = torch::randn({20, 2, 3, 3}), bias = torch::randn({20});
  const torch::Tensor dy = torch::randn({9, 20, 5, 5});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Results one = run(conv_max_pool, x, weight, bias, dy);
  at::set_num_threads(3);
  const Results three = run(conv_max_pool, x, weight, bias, dy);
  at::set_num_threads(before);
  EXPECT_TRUE(torch::equal(one.y, three.y));
  EXPECT_TRUE(torch::equal(one.dbias, three.dbias));
}

// Ties go to the first pixel, NaN beats numbers, as in ATen; all instruction sets make those bits.
TEST(PoolKernels, AreAtensToTheBit) {
  torch::manual_seed(6);
  for (const int64_t channels : {1, 3, 16, 21, 50}) {
    torch::Tensor x = channels_last(torch::randint(-2, 3, {1, channels, 7, 9}).to(torch::kFloat32));
    x[0][0][3][4] = NAN;
    const auto [largest, places] = at::max_pool2d_with_indices(x, 2, 2);
    const torch::Tensor dy = channels_last(torch::randn(largest.sizes()));
    const torch::Tensor dx = at::max_pool2d_with_indices_backward(dy, x, 2, 2, 0, 1, false, places);
    const PoolShape shape = {channels, 7, 9};
    const torch::Tensor zeros = torch::zeros({channels});
    std::vector<int32_t> scratch(static_cast<size_t>(shape.pooled_row()));
    for (const CpuIsa isa : {CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
      if (!supports(isa)) continue;
      const torch::Tensor y = torch::empty_like(largest), own_dx = torch::full_like(dx, 7);
      const torch::Tensor dbias = torch::zeros({channels});
      std::vector<uint8_t> which(static_cast<size_t>(shape.pooled_values()));
      pool_image(shape, x.data_ptr<float>(), zeros.data_ptr<float>(), y.data_ptr<float>(),
                 which.data(), scratch.data(), isa);
      unpool_image(shape, dy.data_ptr<float>(), which.data(), own_dx.data_ptr<float>(),
                   dbias.data_ptr<float>(), scratch.data(), isa);
      EXPECT_TRUE(torch::equal(y.nan_to_num(99), largest.nan_to_num(99))) << to_string(isa);
      EXPECT_TRUE(torch::equal(own_dx, dx)) << channels << " channels, " << to_string(isa);
      EXPECT_LT(distance(dbias, dy.sum(at::IntArrayRef({0, 2, 3}))), 1e-6);
    }
  }
}

}  // namespace
}  // namespace largo::nn
