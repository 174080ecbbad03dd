#include "trainer/nn/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/nn/nn_test_util.h"

namespace largo::nn {
namespace {

TEST(CrossEntropySumTest, IsTheFormula) {
  for (const double smoothing : {0.0, 0.1, 1.0}) {
    const torch::Tensor logits = random_tensor({6, 5}, 1).requires_grad_();
    const torch::Tensor labels = torch::tensor({0, 4, 2, 2, 1, 3}, torch::kInt64);
    const torch::Tensor log_p = logits.detach().log_softmax(1);
    const torch::Tensor target = torch::full({6, 5}, smoothing / 5, torch::kFloat64);
    for (int64_t i = 0; i < 6; ++i) target[i][labels[i].item<int64_t>()] += 1 - smoothing;

    const torch::Tensor loss = cross_entropy_sum(logits, {labels}, smoothing);
    EXPECT_EQ(loss.dim(), 0);
    EXPECT_LE(relative_error(loss.detach(), -(target * log_p).sum()), 1e-14);
    loss.backward();
    EXPECT_LE(relative_error(logits.grad(), log_p.exp() - target), 1e-13);

    const torch::Tensor single =
        cross_entropy_sum(logits.detach().to(torch::kFloat32), {labels}, smoothing);
    EXPECT_EQ(single.scalar_type(), torch::kFloat32);
    EXPECT_LE(relative_error(single, loss.detach()), 1e-6);
  }
}

// Against the definition with soft targets, which ATen computes another way.
TEST(CrossEntropySumTest, MixedTargets) {
  for (const double smoothing : {0.0, 0.1}) {
    const torch::Tensor logits = random_tensor({4, 5}, 1).requires_grad_();
    const torch::Tensor labels = torch::tensor({0, 4, 2, 2}, torch::kInt64);
    const torch::Tensor partners = torch::tensor({4, 2, 2, 0}, torch::kInt64);
    const torch::Tensor loss = cross_entropy_sum(logits, {labels, partners, 0.7}, smoothing);
    loss.backward();
    const torch::Tensor gradient = logits.grad().clone();

    const auto one_hot = [](const torch::Tensor& of) {
      return at::one_hot(of, 5).to(torch::kFloat64);
    };
    const torch::Tensor soft = 0.7 * one_hot(labels) + 0.3 * one_hot(partners);
    logits.mutable_grad().reset();
    const torch::Tensor want =
        at::cross_entropy_loss(logits, soft, {}, at::Reduction::Sum, -100, smoothing);
    want.backward();
    EXPECT_LE(relative_error(loss.detach(), want.detach()), 1e-14);
    EXPECT_LE(relative_error(gradient, logits.grad()), 1e-14);
  }
}

TEST(CrossEntropySumTest, NoSamplesGiveZeroWithAGraph) {
  for (const double smoothing : {0.0, 0.1}) {
    const torch::Tensor logits = torch::zeros({0, 5}, torch::kFloat64).requires_grad_();
    const torch::Tensor loss =
        cross_entropy_sum(logits, {torch::zeros({0}, torch::kInt64)}, smoothing);
    EXPECT_EQ(loss.item<double>(), 0.0);
    loss.backward();
    EXPECT_EQ(logits.grad().sizes(), (std::vector<int64_t>{0, 5}));
  }
}

TEST(EvalSumsTest, HandExample) {
  // Probabilities are powers of two over their sum: 4/8 = softmax(log 4) and so on.
  const auto row = [](std::vector<double> odds) {
    return torch::tensor(odds, torch::kFloat64).log();
  };
  const torch::Tensor logits = torch::stack({
      row({8, 1, 1, 2, 2, 1, 1}),  // label 0: right, p = 8/16
      row({8, 1, 1, 2, 2, 1, 1}),  // label 3: wrong in top1, second, p = 2/16
      row({1, 2, 4, 8, 8, 8, 1}),  // label 6: seventh (class 0 ties and is first), p = 1/32
      row({1, 1, 1, 1, 1, 1, 2}),  // label 4: sixth: class 6 and four equal ones before it, p = 1/8
      row({1, 1, 1, 1, 1, 1, 2}),  // label 3: fifth, p = 1/8
  });
  const torch::Tensor labels = torch::tensor({0, 3, 6, 4, 3}, torch::kInt64);
  for (const auto dtype : {torch::kFloat64, torch::kFloat32}) {
    const EvalSums sums = EvalSums::from(EvalSums::of(logits.to(dtype), labels));
    EXPECT_EQ(sums.samples, 5);
    EXPECT_EQ(sums.top1, 1);
    EXPECT_EQ(sums.top5, 3);
    EXPECT_NEAR(sums.loss, std::log(2.0) + std::log(8.0) + std::log(32.0) + 2 * std::log(8.0),
                1e-5);
    EXPECT_NEAR(sums.confidence, 0.5, 1e-6);
  }
  EXPECT_EQ(top1_count(logits, labels).item<int64_t>(), 1);
}

TEST(EvalSumsTest, FewClassesNoSamplesAndNaN) {
  const torch::Tensor three = random_tensor({4, 3}, 2);
  const torch::Tensor labels = torch::tensor({0, 1, 2, 0}, torch::kInt64);
  EXPECT_EQ(EvalSums::from(EvalSums::of(three, labels)).top5, 4);  // any of min(5, 3)

  const auto none = EvalSums::of(torch::zeros({0, 10}), torch::zeros({0}, torch::kInt64));
  EXPECT_TRUE(torch::equal(none, torch::zeros({5}, torch::kFloat64)));

  const double nan = std::numeric_limits<double>::quiet_NaN();
  const EvalSums sums = EvalSums::from(EvalSums::of(torch::full({4, 3}, nan), labels));
  EXPECT_EQ(sums.top1, 0);
  EXPECT_EQ(sums.top5, 0);
  EXPECT_EQ(sums.confidence, 0);
  EXPECT_TRUE(std::isnan(sums.loss));
}

TEST(EvalSumsTest, AgreesWithTop1CountAndAddsUp) {
  const torch::Tensor logits = random_tensor({50, 10}, 3, torch::kFloat32);
  const torch::Tensor labels = torch::arange(50, torch::kInt64).remainder(10);
  const torch::Tensor whole = EvalSums::of(logits, labels);
  const torch::Tensor parts = EvalSums::of(logits.narrow(0, 0, 20), labels.narrow(0, 0, 20)) +
                              EvalSums::of(logits.narrow(0, 20, 30), labels.narrow(0, 20, 30));
  EXPECT_LE(relative_error(parts, whole), 1e-12);
  EXPECT_EQ(EvalSums::from(whole).top1, top1_count(logits, labels).item<int64_t>());

  const torch::Tensor best = std::get<0>(logits.to(torch::kFloat64).softmax(1).max(1));
  const torch::Tensor right = logits.argmax(1).eq(labels);
  EXPECT_NEAR(EvalSums::from(whole).confidence, best.masked_select(right).sum().item<double>(),
              1e-5);
}

}  // namespace
}  // namespace largo::nn
