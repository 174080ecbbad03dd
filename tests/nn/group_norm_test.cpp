// The group norm that GPUs use, on the CPU.
#include "trainer/nn/group_norm.h"

#include <gtest/gtest.h>

#include "tests/nn/nn_test_util.h"
#include "trainer/nn/host_values.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {
namespace {

struct Outcome {
  torch::Tensor y, dx, dweight, dbias;
};

using GroupNormFunction = torch::Tensor (*)(const torch::Tensor&, int64_t, const torch::Tensor&,
                                            const torch::Tensor&, double);

torch::Tensor aten(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                   const torch::Tensor& bias, double epsilon) {
  return at::group_norm(x, groups, weight, bias, epsilon);
}

Outcome run(GroupNormFunction function, const torch::Tensor& images, int64_t groups,
            const torch::Tensor& dy, torch::Dtype parameters) {
  const torch::Tensor x = images.detach().clone().requires_grad_();
  const torch::Tensor weight = random_tensor({x.size(1)}, 3, parameters).requires_grad_();
  const torch::Tensor bias = random_tensor({x.size(1)}, 4, parameters).requires_grad_();
  const torch::Tensor y = function(x, groups, weight, bias, 1e-5);
  y.backward(dy);
  return {y.detach(), x.grad(), weight.grad(), bias.grad()};
}

void expect_close(const Outcome& a, const Outcome& b, double tolerance) {
  EXPECT_LE(relative_error(a.y, b.y), tolerance);
  EXPECT_LE(relative_error(a.dx, b.dx), tolerance);
  EXPECT_LE(relative_error(a.dweight, b.dweight), tolerance);
  EXPECT_LE(relative_error(a.dbias, b.dbias), tolerance);
}

TEST(GroupNormTest, EqualsAtensInBothMemoryFormats) {
  for (const int64_t groups : {1, 2, 3, 6}) {
    for (const double mean : {0.0, 1e4}) {
      const torch::Tensor x = random_tensor({4, 6, 5, 3}, 1) + mean;
      const torch::Tensor dy = random_tensor({4, 6, 5, 3}, 2);
      const Outcome want = run(aten, x, groups, dy, torch::kFloat64);
      for (const bool last : {false, true}) {
        const torch::Tensor images = last ? channels_last(x) : x;
        // The gradient's format need not be the images'.
        for (const torch::Tensor& gradient : {dy, channels_last(dy)}) {
          const Outcome got = run(group_norm, images, groups, gradient, torch::kFloat64);
          expect_close(got, want, mean == 0 ? 1e-12 : 1e-9);
          EXPECT_EQ(got.y.strides(), images.strides());
          EXPECT_EQ(got.dx.strides(), images.strides());
        }
      }
    }
  }
}

TEST(GroupNormTest, HalfPrecisionImagesWithSinglePrecisionParameters) {
  const torch::Tensor x =
      channels_last((2 * random_tensor({4, 8, 5, 3}, 1) + 3).to(torch::kBFloat16));
  const torch::Tensor dy = channels_last(random_tensor({4, 8, 5, 3}, 2, torch::kBFloat16));
  const Outcome want = run(aten, x.to(torch::kFloat64), 2, dy.to(torch::kFloat64), torch::kFloat64);
  const Outcome got = run(group_norm, x, 2, dy, torch::kFloat32);
  EXPECT_EQ(got.y.scalar_type(), torch::kBFloat16);
  EXPECT_EQ(got.dx.scalar_type(), torch::kBFloat16);
  EXPECT_EQ(got.dweight.scalar_type(), torch::kFloat32);
  EXPECT_EQ(got.y.strides(), x.strides());
  EXPECT_EQ(got.dx.strides(), x.strides());
  expect_close(got, want, 5e-3);
  EXPECT_LE(relative_error(got.dweight, want.dweight), 1e-5);
  EXPECT_LE(relative_error(got.dbias, want.dbias), 1e-5);
}

TEST(GroupNormTest, WithoutWeightAndBias) {
  const torch::Tensor x = random_tensor({2, 4, 3, 3}, 1);
  EXPECT_LE(relative_error(nn::group_norm(x, 2, {}, {}, 1e-5), at::group_norm(x, 2, {}, {}, 1e-5)),
            1e-12);
}

// Models change the result in place.
TEST(GroupNormTest, ResultMayBeChangedInPlace) {
  const torch::Tensor x = random_tensor({2, 4, 3, 3}, 1).requires_grad_();
  nn::group_norm(x, 2, {}, {}, 1e-5).relu_().sum().backward();
  const torch::Tensor dx = x.grad().clone();
  x.mutable_grad().zero_();
  at::group_norm(x, 2, {}, {}, 1e-5).relu().sum().backward();
  EXPECT_LE(relative_error(dx, x.grad()), 1e-12);
}

TEST(HostValuesTest, AreTheValuesOnTheHost) {
  const std::vector<double> numbers = {1.5, -2, 1e300};
  EXPECT_TRUE(
      torch::equal(host_values(numbers, torch::kCPU), torch::tensor(numbers, torch::kFloat64)));
  const std::vector<int32_t> counts = {7, 0, 2147483647};
  const torch::Tensor tensor = host_values(counts, torch::kCPU);
  EXPECT_EQ(tensor.scalar_type(), torch::kInt32);
  EXPECT_EQ(tensor[2].item<int32_t>(), 2147483647);
  const torch::Tensor memory = empty_for(torch::kCPU, {2, 3}, torch::kBool);
  EXPECT_EQ(send(memory, torch::kCPU).data_ptr(), memory.data_ptr());
}

}  // namespace
}  // namespace largo::nn
