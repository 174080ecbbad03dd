#include "trainer/nn/conv_pool.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "trainer/nn/autocast.h"
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

// Under autocast the convolution's sums are ATen's in bfloat16; pooling and all gradients from
// there are held against float64, where the same of those sums is the largest.
TEST_P(ConvPool, OfBfloat16IsPoolingOfItsSums) {
  const auto [n, c, side, k, flat] = GetParam();
  torch::manual_seed(8);
  const auto draw = [](at::IntArrayRef sizes) {  // what bfloat16 holds
    return torch::randn(sizes).to(torch::kBFloat16).to(torch::kFloat32);
  };
  const torch::Tensor x = channels_last(draw({n, c, side, side}));
  const torch::Tensor weight = draw({k, c, 3, 3}), bias = torch::randn({k});
  const int64_t pooled = (side - 2) / 2;
  const torch::Tensor dy = draw({n, k, pooled, pooled});

  Results own;
  torch::Tensor sums;
  {
    const Autocast autocast(torch::kCPU, torch::kBFloat16);
    own = run(flat ? conv_max_pool_flat : conv_max_pool, x, weight, bias, dy);
    sums = leaf(at::conv2d(x, weight).to(torch::kFloat64));
  }
  const torch::Tensor wide_bias = leaf(bias.to(torch::kFloat64));
  const torch::Tensor y = at::max_pool2d(sums, 2, 2) + wide_bias.view({1, k, 1, 1});
  y.backward(dy.to(torch::kFloat64));
  const Results wide =
      run([](const auto& in, const auto& w, const auto&) { return at::conv2d(in, w); },
          x.to(torch::kFloat64), weight.to(torch::kFloat64), bias, sums.grad());

  ASSERT_EQ(own.y.scalar_type(), torch::kBFloat16);
  ASSERT_EQ(own.y.numel(), y.numel());
  EXPECT_LT(distance(own.y.reshape(y.sizes()), y.detach()), 3e-3);
  EXPECT_LT(distance(own.dx, wide.dx), 4e-3);
  EXPECT_LT(distance(own.dweight, wide.dweight), 4e-3);
  const double error =
      (own.dbias.to(torch::kFloat64) - wide_bias.grad()).abs().sum().item<double>();
  EXPECT_LE(error, 1e-6 * dy.abs().sum().item<double>());
  EXPECT_EQ(own.dbias.scalar_type(), torch::kFloat32);
}

TEST(ConvPool, IsAtensUnderAutocastOfWhatItLeavesAlone) {
  torch::manual_seed(4);
  const torch::Tensor x = channels_last(torch::randn({2, 3, 8, 8}));
  const torch::Tensor weight = torch::randn({4, 3, 3, 3}), bias = torch::randn({4});
  const Autocast autocast(torch::kCPU, torch::kBFloat16);
  const torch::Tensor wide =
      conv_max_pool(x.to(torch::kFloat64), weight.to(torch::kFloat64), bias.to(torch::kFloat64));
  EXPECT_EQ(wide.scalar_type(), torch::kFloat64);
  EXPECT_LT(distance(conv_max_pool(x, weight, bias), wide), 5e-3);
}

TEST(ConvPool, IsAtensInFloat64AndUnderEvaluationToo) {
  torch::manual_seed(4);
  const torch::Tensor x = channels_last(torch::randn({2, 3, 8, 8}, torch::kFloat64));
  const torch::Tensor weight = torch::randn({4, 3, 3, 3}, torch::kFloat64);
  const torch::Tensor bias = torch::randn({4}, torch::kFloat64);
  const torch::Tensor y = at::max_pool2d(at::conv2d(x, weight, bias), 2, 2);
  EXPECT_TRUE(torch::equal(conv_max_pool(x, weight, bias), y));
  EXPECT_TRUE(torch::equal(conv_max_pool_flat(x, weight, bias), y.flatten(1)));
}

class ConvPoolTypes : public testing::TestWithParam<torch::Dtype> {};

TEST_P(ConvPoolTypes, BitsDoNotDependOnTheThreads) {
  torch::manual_seed(5);
  const Autocast autocast(torch::kCPU, GetParam());
  const torch::Tensor x = channels_last(torch::randn({9, 2, 12, 12}));
  const torch::Tensor weight = torch::randn({20, 2, 3, 3}), bias = torch::randn({20});
  const torch::Tensor dy = torch::randn({9, 20, 5, 5});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Results one = run(conv_max_pool, x, weight, bias, dy);
  at::set_num_threads(3);
  const Results three = run(conv_max_pool, x, weight, bias, dy);
  at::set_num_threads(before);
  EXPECT_EQ(one.y.scalar_type(), GetParam());
  EXPECT_TRUE(torch::equal(one.y, three.y));
  EXPECT_TRUE(torch::equal(one.dbias, three.dbias));
}

INSTANTIATE_TEST_SUITE_P(Types, ConvPoolTypes, testing::Values(torch::kFloat32, torch::kBFloat16));

template <class Stored>
const Stored* values(const torch::Tensor& tensor) {
  return static_cast<const Stored*>(tensor.const_data_ptr());
}
template <class Stored>
Stored* room(const torch::Tensor& tensor) {
  return static_cast<Stored*>(tensor.mutable_data_ptr());
}

// Ties go to the first pixel, NaN beats numbers, as in ATen; all instruction sets make those bits.
template <class Stored>
void expect_atens(int64_t channels, torch::Dtype type) {
  torch::Tensor x = channels_last(torch::randint(-2, 3, {1, channels, 7, 9}).to(type));
  x[0][0][3][4] = NAN;
  const auto [largest, indices] = at::max_pool2d_with_indices(x, 2, 2);
  const torch::Tensor dy = channels_last(torch::randn(largest.sizes()).to(type));
  const torch::Tensor dx = at::max_pool2d_with_indices_backward(dy, x, 2, 2, 0, 1, false, indices);
  const torch::Tensor bias = torch::randn({channels});
  const torch::Tensor sums = (largest.to(torch::kFloat32) + bias.view({1, -1, 1, 1})).to(type);
  const PoolShape shape = {channels, 7, 9};
  PoolScratch scratch(shape);
  for (const CpuIsa isa : {CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
    if (!supports(isa)) continue;
    const torch::Tensor y = torch::empty_like(largest), own_dx = torch::full_like(dx, 7);
    const torch::Tensor dbias = torch::zeros({channels});
    std::vector<uint8_t> which(static_cast<size_t>(shape.pooled_values()));
    pool_image(shape, values<Stored>(x), values<float>(bias), room<Stored>(y), which.data(),
               scratch, isa);
    unpool_image(shape, values<Stored>(dy), which.data(), room<Stored>(own_dx), room<float>(dbias),
                 scratch, isa);
    EXPECT_TRUE(torch::equal(y.nan_to_num(99), sums.nan_to_num(99))) << to_string(isa);
    EXPECT_TRUE(torch::equal(own_dx, dx)) << channels << " channels, " << to_string(isa);
    EXPECT_LT(distance(dbias, dy.to(torch::kFloat64).sum(at::IntArrayRef({0, 2, 3}))), 1e-6);
  }
}

TEST(PoolKernels, AreAtensToTheBit) {
  torch::manual_seed(6);
  for (const int64_t channels : {1, 3, 16, 21, 50}) {
    expect_atens<float>(channels, torch::kFloat32);
    expect_atens<uint16_t>(channels, torch::kBFloat16);
  }
}

}  // namespace
}  // namespace largo::nn
