#include "trainer/optim/clip.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <vector>

#include "trainer/optim/optimizer.h"

namespace largo::optim {
namespace {

// LibTorch's own clip_grad_norm_ on the same gradients.
void expect_as_torch(at::ScalarType dtype, double most) {
  torch::manual_seed(1);
  std::vector<torch::Tensor> gradients, parameters;
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{4, 3, 3, 3}, {7}, {2, 5}}) {
    torch::Tensor parameter = torch::zeros(sizes, dtype).requires_grad_();
    parameter.mutable_grad() = torch::randn(sizes, dtype);
    gradients.push_back(parameter.grad().clone());
    parameters.push_back(parameter);
  }
  const at::Tensor norm = grad_norm(gradients);
  clip_gradients(gradients, norm, most);
  const double want_norm = torch::nn::utils::clip_grad_norm_(parameters, most);
  EXPECT_NEAR(norm.item<double>(), want_norm, 1e-5 * want_norm);  // before clipping
  for (size_t i = 0; i < gradients.size(); ++i) {
    const torch::Tensor want = parameters[i].grad();
    const double bound = dtype == at::kDouble ? 1e-14 : 1e-6;
    EXPECT_LE((gradients[i] - want).norm().item<double>(), bound * want.norm().item<double>());
    EXPECT_EQ(gradients[i].scalar_type(), dtype);
  }
}

TEST(ClipTest, AsTorch) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    expect_as_torch(dtype, 0.5);
    expect_as_torch(dtype, 1e3);
  }
}

TEST(ClipTest, SmallerGradientsKeepTheirBits) {
  std::vector<torch::Tensor> gradients = {torch::randn({50}), torch::randn({3, 3})};
  const std::vector<torch::Tensor> before = {gradients[0].clone(), gradients[1].clone()};
  clip_gradients(gradients, grad_norm(gradients), 100);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(torch::equal(gradients[i], before[i]));
}

// A gradient that is not finite must be seen by whoever looks for it, not be scaled to zero.
TEST(ClipTest, NanStaysVisible) {
  std::vector<torch::Tensor> gradients = {torch::tensor({1.0, std::nan("")})};
  clip_gradients(gradients, grad_norm(gradients), 1);
  EXPECT_TRUE(gradients[0].isnan().any().item<bool>());
}

TEST(ClipTest, WritesThroughViews) {
  torch::Tensor flat = torch::full({8}, 2.0);
  std::vector<torch::Tensor> gradients = {flat.narrow(0, 0, 4), flat.narrow(0, 4, 4)};
  clip_gradients(gradients, grad_norm(gradients), 1);
  EXPECT_NEAR(flat.norm().item<double>(), 1, 1e-5);
}

}  // namespace
}  // namespace largo::optim
