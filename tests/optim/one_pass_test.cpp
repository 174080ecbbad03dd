#include "trainer/optim/one_pass.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <iterator>
#include <vector>

#include "trainer/optim/adaptive_rules.h"
#include "trainer/optim/tensor_norms.h"

namespace largo::optim {
namespace {

double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor wide = b.to(at::kDouble);
  return ((a.to(at::kDouble) - wide).norm() / wide.norm()).item<double>();
}

// Weight, gradient, buffer and another: of so many elements.
struct Tensors {
  at::Tensor weight, gradient, buffer, square;

  static Tensors make(int64_t count, at::ScalarType dtype) {
    torch::manual_seed(7);
    const auto draw = [&] { return at::randn({count}, at::kDouble).to(dtype); };
    return {draw(), draw(), draw(), draw().square()};
  }
  Tensors copy() const { return {weight.clone(), gradient, buffer.clone(), square.clone()}; }
};

class OnePass : public testing::TestWithParam<at::ScalarType> {
 protected:
  double most() const { return GetParam() == at::kDouble ? 1e-14 : 1e-6; }
};

TEST_P(OnePass, IsMomentumUpdate) {
  const MomentumPass pass = {.trust = 0.3, .decay = 0.01, .m = {0.9, 0.7}, .lr = 0.05};
  for (const int64_t count : {1, 7, 16, 33, 70001}) {
    for (const MomentumForm form : {MomentumForm::kOutside, MomentumForm::kAbsorbed}) {
      for (const bool nesterov : {false, true}) {
        for (const bool keeps : {false, true}) {
          const MomentumOptions options = {.nesterov = nesterov, .form = form};
          const Tensors first = Tensors::make(count, GetParam());
          const Tensors own = first.copy(), reference = first.copy();
          momentum_in_one_pass(options, pass, own.weight, own.gradient,
                               keeps ? own.buffer : at::Tensor());
          const std::vector<at::Tensor> x = {(reference.gradient + reference.weight * pass.decay) *
                                             pass.trust};
          momentum_update(
              options, pass.m, pass.lr, {reference.weight}, x,
              keeps ? std::vector<at::Tensor>{reference.buffer} : std::vector<at::Tensor>{});
          EXPECT_LT(distance(own.weight, reference.weight), most()) << count;
          EXPECT_LT(distance(own.buffer, reference.buffer), most()) << count;
        }
      }
    }
  }
}

TEST_P(OnePass, IsLamb) {
  const LambPass pass = {.divisor = 2,
                         .b1 = 0.9,
                         .b2 = 0.99,
                         .correction1 = 0.3,
                         .correction2 = 0.2,
                         .epsilon = 1e-6,
                         .decay = 0.01};
  for (const int64_t count : {1, 16, 70001}) {
    const Tensors own = Tensors::make(count, GetParam());
    const at::Tensor update = at::empty_like(own.weight);
    const at::Tensor g = own.gradient.to(at::kDouble) / pass.divisor;
    const at::Tensor average = own.buffer.to(at::kDouble) * 0.9 + g * 0.1;
    const at::Tensor square = own.square.to(at::kDouble) * 0.99 + g * g * 0.01;
    const at::Tensor u =
        average / 0.3 / ((square / 0.2).sqrt() + 1e-6) + own.weight.to(at::kDouble) * pass.decay;
    const LambNorms norms =
        lamb_in_one_pass(pass, own.weight, own.gradient, own.buffer, own.square, update);
    const double weight_norm = own.weight.to(at::kDouble).norm().item<double>();
    const double update_norm = update.to(at::kDouble).norm().item<double>();
    EXPECT_NEAR(norms.weight, weight_norm, 1e-13 * weight_norm);
    EXPECT_NEAR(norms.update, update_norm, 1e-13 * update_norm);
    EXPECT_LT(distance(own.buffer, average), most());
    EXPECT_LT(distance(own.square, square), most());
    EXPECT_LT(distance(update, u), most());
  }
}

INSTANTIATE_TEST_SUITE_P(Types, OnePass, testing::Values(at::kFloat, at::kDouble));

// What a function leaves behind and returns, with so many threads.
template <class Run>
void expect_same_bits(const Run& run) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const std::vector<at::Tensor> one = run();
  for (const int threads : {2, 3, 5}) {
    at::set_num_threads(threads);
    const std::vector<at::Tensor> several = run();
    for (size_t i = 0; i < one.size(); ++i) {
      EXPECT_TRUE(at::equal(one[i], several[i])) << threads << " threads, result " << i;
    }
  }
  at::set_num_threads(before);
}

TEST(OnePass, NoBitDependsOnTheThreads) {
  const Tensors first = Tensors::make(300001, at::kFloat);
  for (const bool nesterov : {false, true}) {
    for (const bool keeps : {false, true}) {
      expect_same_bits([&] {
        const Tensors tensors = first.copy();
        momentum_in_one_pass(
            {.nesterov = nesterov}, {.trust = 0.3, .decay = 0.01, .m = {0.9, 0.9}, .lr = 0.05},
            tensors.weight, tensors.gradient, keeps ? tensors.buffer : at::Tensor());
        return std::vector{tensors.weight, tensors.buffer};
      });
    }
  }
  expect_same_bits([&] {
    const Tensors tensors = first.copy();
    const at::Tensor square = first.square.clone(), update = at::empty_like(first.weight);
    const LambNorms norms =
        lamb_in_one_pass({.divisor = 2, .b1 = 0.9, .b2 = 0.99, .epsilon = 1e-6, .decay = 0.01},
                         tensors.weight, tensors.gradient, tensors.buffer, square, update);
    return std::vector{tensors.buffer, square, update, at::tensor({norms.weight, norms.update})};
  });
}

TEST_P(OnePass, NormsAreThoseOfDoublesWithAnyThreads) {
  const Tensors tensors = Tensors::make(300001, GetParam());
  const auto wide_norm = [](const at::Tensor& x) { return x.to(at::kDouble).norm(); };
  const at::Tensor exact = at::stack({wide_norm(tensors.weight), wide_norm(tensors.gradient)});
  expect_same_bits([&] {
    const at::Tensor norms = tensor_norms({tensors.weight, tensors.gradient});
    EXPECT_LT(distance(norms, exact), 1e-13);
    EXPECT_EQ(norms[1].item<double>(), host_norm(tensors.gradient));
    return std::vector{norms};
  });
}

size_t threads_of_this_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

// ATen's parallel_for is a plain loop where it is compiled without OpenMP.
TEST(OnePass, UsesTheThreadsOfAten) {
  const Tensors tensors = Tensors::make(300001, at::kFloat);
  const int before = at::get_num_threads();
  const auto run = [&](const auto& use) {
    const size_t threads = threads_of_this_process();
    at::set_num_threads(static_cast<int>(threads) + 1);
    use();
    EXPECT_GT(threads_of_this_process(), threads);
  };
  run([&] { momentum_in_one_pass({}, {.lr = 0.05}, tensors.weight, tensors.gradient, {}); });
  run([&] { tensor_norms({tensors.weight}); });
  run([&] {
    update_in_one_pass(LionRule{.lr = 0.1},
                       {.weights = {tensors.weight}, .slots = {{tensors.buffer}}},
                       {tensors.gradient});
  });
  at::set_num_threads(before);
}

}  // namespace
}  // namespace largo::optim
