// The algorithm that GPUs do synchronized batch normalization with, on the CPU: the kernels are
// plain tensor operations that do what ATen's are documented to do.
#include "trainer/nn/synchronized_norm.h"

#include <gtest/gtest.h>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "tests/nn/norm_step.h"

namespace largo::nn {
namespace {

constexpr double kEpsilon = 1e-5;
constexpr double kMomentum = 0.1;

torch::Dtype accumulation(const torch::Tensor& x) {
  return x.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

torch::Tensor wide(const torch::Tensor& values) { return values.view({1, -1, 1, 1}); }

void expect_statistics(const torch::Tensor& x, std::initializer_list<torch::Tensor> tensors) {
  for (const torch::Tensor& tensor : tensors) {
    EXPECT_EQ(tensor.scalar_type(), accumulation(x));
    EXPECT_EQ(tensor.sizes(), at::IntArrayRef({x.size(1)}));
    EXPECT_TRUE(tensor.is_contiguous());
  }
}

void expect_dense(const torch::Tensor& x) {
  EXPECT_GT(x.size(0), 0);
  EXPECT_TRUE(x.is_contiguous(x.suggest_memory_format()));
}

std::tuple<torch::Tensor, torch::Tensor> statistics(const torch::Tensor& x) {
  expect_dense(x);
  const auto [variance, mean] =
      at::var_mean(x.to(accumulation(x)), at::IntArrayRef({0, 2, 3}), /*correction=*/0);
  return {mean, variance};
}

torch::Tensor normalize(const torch::Tensor& x, const torch::Tensor& weight,
                        const torch::Tensor& bias, const torch::Tensor& mean,
                        const torch::Tensor& inverse_sigma) {
  expect_dense(x);
  expect_statistics(x, {weight, bias, mean, inverse_sigma});
  return ((x.to(accumulation(x)) - wide(mean)) * wide(inverse_sigma) * wide(weight) + wide(bias))
      .to(x.scalar_type());
}

std::tuple<torch::Tensor, torch::Tensor, torch::Tensor, torch::Tensor> sums(
    const torch::Tensor& dy, const torch::Tensor& x, const torch::Tensor& mean,
    const torch::Tensor& inverse_sigma, const torch::Tensor& weight) {
  expect_dense(x);
  EXPECT_TRUE(dy.is_contiguous(x.suggest_memory_format()));
  EXPECT_EQ(dy.scalar_type(), x.scalar_type());
  expect_statistics(x, {weight, mean, inverse_sigma});
  const torch::Tensor exact = dy.to(accumulation(x));
  const torch::Tensor sum_dy = exact.sum({0, 2, 3});
  const torch::Tensor sum_dy_xmu = (exact * (x.to(accumulation(x)) - wide(mean))).sum({0, 2, 3});
  return {sum_dy, sum_dy_xmu, sum_dy_xmu * inverse_sigma, sum_dy};
}

torch::Tensor input_gradient(const torch::Tensor& dy, const torch::Tensor& x,
                             const torch::Tensor& mean, const torch::Tensor& inverse_sigma,
                             const torch::Tensor& weight, const torch::Tensor& sum_dy,
                             const torch::Tensor& sum_dy_xmu, const torch::Tensor& counts) {
  EXPECT_TRUE(dy.is_contiguous(x.suggest_memory_format()));
  EXPECT_EQ(counts.scalar_type(), torch::kInt32);
  expect_statistics(x, {weight, mean, inverse_sigma, sum_dy, sum_dy_xmu});
  const double total = counts.sum().item<double>();
  const torch::Tensor centered = x.to(accumulation(x)) - wide(mean);
  const torch::Tensor dx = (dy.to(accumulation(x)) - wide(sum_dy) / total -
                            centered * wide(inverse_sigma.square() * sum_dy_xmu) / total) *
                           wide(weight * inverse_sigma);
  return dx.to(x.scalar_type()).contiguous(x.suggest_memory_format());
}

constexpr BatchNormKernels kReference = {.statistics = statistics,
                                         .normalize = normalize,
                                         .sums = sums,
                                         .input_gradient = input_gradient};

// Counts the collectives of another communicator.
class Counting final : public comm::Communicator {
 public:
  explicit Counting(comm::Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  bool is_asynchronous() const override { return inner_.is_asynchronous(); }
  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override {
    return inner_.allocate(elements, dtype);
  }
  comm::Work all_reduce(at::Tensor tensor, comm::ReduceOp op) override {
    ++all_reduces;
    return inner_.all_reduce(tensor, op);
  }
  void broadcast(at::Tensor tensor, int root) override { inner_.broadcast(tensor, root); }
  at::Tensor all_gather(const at::Tensor& tensor) override {
    ++all_gathers;
    return inner_.all_gather(tensor);
  }
  void barrier() override { inner_.barrier(); }
  std::unique_ptr<comm::Communicator> split(int color, int key) override {
    return inner_.split(color, key);
  }

  int all_reduces = 0, all_gathers = 0;

 private:
  comm::Communicator& inner_;
};

// counts[r] consecutive samples on rank r; parameters of `parameters`, if not the problem's dtype.
NormOutcome run_ranks(const NormProblem& problem, const std::vector<int64_t>& counts, bool last,
                      torch::Dtype parameters) {
  const int ranks = static_cast<int>(counts.size());
  std::vector<NormOutcome> each(ranks);
  comm::spawn_ranks(ranks, [&](comm::Communicator& world) {
    Counting group(world);
    const int rank = world.rank();
    const int64_t first = std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
    const auto mine = [&](const torch::Tensor& whole) {
      const torch::Tensor part = whole.narrow(0, first, counts[rank]).clone();
      return last ? channels_last(part) : part;
    };
    const torch::Tensor x = mine(problem.x).requires_grad_();
    const torch::Tensor weight = problem.weight.to(parameters).clone().requires_grad_();
    const torch::Tensor bias = problem.bias.to(parameters).clone().requires_grad_();
    std::vector<int64_t> values;
    for (const int64_t count : counts) values.push_back(count * x.size(2) * x.size(3));
    const auto [y, moments] =
        synchronized_norm(kReference, x, values, weight, bias, kEpsilon, group);
    EXPECT_TRUE(y.is_contiguous(x.suggest_memory_format()));
    EXPECT_EQ(y.scalar_type(), x.scalar_type());
    EXPECT_EQ(moments.mean.scalar_type(), torch::kFloat64);
    y.backward(mine(problem.dy));
    EXPECT_TRUE(x.grad().is_contiguous(x.suggest_memory_format()));
    EXPECT_EQ(weight.grad().scalar_type(), parameters);
    EXPECT_EQ(group.all_gathers, 1);
    EXPECT_EQ(group.all_reduces, 1);
    each[rank] = {y.detach(),
                  x.grad(),
                  weight.grad(),
                  bias.grad(),
                  kMomentum * moments.mean,
                  (1 - kMomentum) + kMomentum * moments.variance * unbiased_factor(moments.count)};
  });
  NormOutcome all = each[0];
  for (int rank = 1; rank < ranks; ++rank) {
    all.y = torch::cat({all.y, each[rank].y});
    all.dx = torch::cat({all.dx, each[rank].dx});
    all.dweight = all.dweight + each[rank].dweight;
    all.dbias = all.dbias + each[rank].dbias;
    EXPECT_TRUE(torch::equal(each[rank].running_mean, all.running_mean)) << rank;
    EXPECT_TRUE(torch::equal(each[rank].running_var, all.running_var)) << rank;
  }
  return all;
}

NormOutcome expected(const NormProblem& problem) {
  return one_process(problem,
                     {.kind = NormKind::kBatch, .momentum = kMomentum, .epsilon = kEpsilon});
}

class SynchronizedNormTest : public testing::TestWithParam<std::vector<int64_t>> {
 protected:
  void expect_one_process(const NormProblem& problem, double tolerance) const {
    for (const bool last : {false, true}) {
      expect_close(run_ranks(problem, GetParam(), last, problem.x.scalar_type()), expected(problem),
                   tolerance);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(
    Counts, SynchronizedNormTest,
    testing::Values(std::vector<int64_t>{8}, std::vector<int64_t>{4, 4},
                    std::vector<int64_t>{2, 2, 2, 2}, std::vector<int64_t>{5, 3},
                    std::vector<int64_t>{1, 4, 1, 2}, std::vector<int64_t>{0, 5, 3},
                    std::vector<int64_t>{7, 0, 1}, std::vector<int64_t>{0, 0, 8}));

TEST_P(SynchronizedNormTest, EqualsOneProcess) {
  expect_one_process(make_problem({8, 3, 4, 5}), 1e-12);
}

TEST_P(SynchronizedNormTest, OnePixelImages) {
  expect_one_process(make_problem({8, 3, 1, 1}), 1e-12);
}

TEST_P(SynchronizedNormTest, EqualsOneProcessWhereTheMeanIsLarge) {
  NormProblem problem = make_problem({8, 3, 4, 5});
  problem.x = (random_tensor(problem.x.sizes(), 5) + 1e4) *
              torch::tensor({1.0, -1.0, 1e-6}, torch::kFloat64).view({1, -1, 1, 1});
  expect_one_process(problem, 1e-10);
}

TEST_P(SynchronizedNormTest, SinglePrecision) {
  const NormProblem single = make_problem({8, 3, 4, 5}).to(torch::kFloat32);
  const NormOutcome exact = expected(single.to(torch::kFloat64));
  for (const bool last : {false, true}) {
    expect_close(run_ranks(single, GetParam(), last, torch::kFloat32), exact, 1e-5);
  }
}

// The running statistics then have no digits of bfloat16 to lose: they are of its values.
TEST_P(SynchronizedNormTest, HalfPrecisionImagesWithSinglePrecisionParameters) {
  NormProblem half = make_problem({8, 3, 4, 5}).to(torch::kBFloat16);
  half.weight = half.weight.to(torch::kFloat32);
  half.bias = half.bias.to(torch::kFloat32);
  const NormOutcome exact = expected(half.to(torch::kFloat64));
  for (const bool last : {false, true}) {
    const NormOutcome outcome = run_ranks(half, GetParam(), last, torch::kFloat32);
    expect_close(outcome, exact, 1e-2);
    EXPECT_LE(relative_error(outcome.running_mean, exact.running_mean), 1e-5);
    EXPECT_LE(relative_error(outcome.running_var, exact.running_var), 1e-5);
    EXPECT_LE(relative_error(outcome.dweight, exact.dweight), 1e-5);
    EXPECT_LE(relative_error(outcome.dbias, exact.dbias), 1e-5);
  }
}

TEST(SynchronizedNormOneTest, WithoutWeightAndBias) {
  const NormProblem problem = make_problem({4, 3, 4, 5});
  comm::SelfCommunicator self;
  const torch::Tensor x = problem.x.clone().requires_grad_();
  const std::vector<int64_t> counts = {int64_t{4} * 4 * 5};
  synchronized_norm(kReference, x, counts, {}, {}, kEpsilon, self).y.backward(problem.dy);
  const NormProblem plain = {problem.x, problem.dy, torch::ones_like(problem.weight),
                             torch::zeros_like(problem.bias)};
  EXPECT_LE(relative_error(x.grad(), expected(plain).dx), 1e-12);
}

// What the kernels get is dense and alike all the same: the reference checks it.
TEST(SynchronizedNormOneTest, ImagesAndGradientsInAnyLayout) {
  const NormProblem problem = make_problem({4, 3, 4, 5});
  comm::SelfCommunicator self;
  const std::vector<int64_t> counts = {int64_t{4} * 4 * 5};
  const torch::Tensor gaps = torch::stack({problem.x, problem.x}, 4).select(4, 0);
  const torch::Tensor dy_gaps = torch::stack({problem.dy, problem.dy}, 4).select(4, 0);
  for (const torch::Tensor& images : {gaps, problem.x, channels_last(problem.x)}) {
    for (const torch::Tensor& dy : {dy_gaps, problem.dy, channels_last(problem.dy)}) {
      const torch::Tensor x = images.detach().requires_grad_();
      const torch::Tensor y =
          synchronized_norm(kReference, x, counts, problem.weight, problem.bias, kEpsilon, self).y;
      y.backward(dy);
      EXPECT_LE(relative_error(y.detach(), expected(problem).y), 1e-12);
      EXPECT_LE(relative_error(x.grad(), expected(problem).dx), 1e-12);
    }
  }
}

TEST(SynchronizedNormOneTest, NoReductionWhereTheImagesNeedNoGradient) {
  const NormProblem problem = make_problem({4, 3, 4, 5});
  comm::SelfCommunicator self;
  Counting group(self);
  const torch::Tensor weight = problem.weight.clone().requires_grad_();
  const std::vector<int64_t> counts = {int64_t{4} * 4 * 5};
  synchronized_norm(kReference, problem.x, counts, weight, problem.bias, kEpsilon, group)
      .y.backward(problem.dy);
  EXPECT_EQ(group.all_reduces, 0);
  EXPECT_LE(relative_error(weight.grad(), expected(problem).dweight), 1e-12);
}

TEST(SynchronizedNormOneTest, RefusesCountsThatTheKernelsCannotHold) {
  comm::SelfCommunicator self;
  const std::vector<int64_t> counts = {int64_t{1} << 31};
  EXPECT_THROW(
      synchronized_norm(kReference, torch::zeros({1, 1, 1, 1}), counts, {}, {}, kEpsilon, self),
      Error);
}

}  // namespace
}  // namespace largo::nn
