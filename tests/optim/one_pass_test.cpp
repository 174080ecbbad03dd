#include "trainer/optim/one_pass.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

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
  const MomentumPass pass = {.trust = 0.3, .decay = 0.01, .m = 0.9, .lr = 0.05};
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
    lamb_in_one_pass(pass, own.weight, own.gradient, own.buffer, own.square, update);
    EXPECT_LT(distance(own.buffer, average), most());
    EXPECT_LT(distance(own.square, square), most());
    EXPECT_LT(distance(update, u), most());
  }
}

INSTANTIATE_TEST_SUITE_P(Types, OnePass, testing::Values(at::kFloat, at::kDouble));

TEST(OnePass, NoBitDependsOnTheThreads) {
  const Tensors first = Tensors::make(300001, at::kFloat);
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    const Tensors tensors = first.copy();
    momentum_in_one_pass({}, {.trust = 0.3, .decay = 0.01, .m = 0.9, .lr = 0.05}, tensors.weight,
                         tensors.gradient, tensors.buffer);
    return std::pair(tensors.weight, tensor_norms({tensors.weight, tensors.gradient}));
  };
  const auto [weight, norms] = run(1);
  const auto [weight3, norms3] = run(3);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(weight, weight3));
  EXPECT_TRUE(at::equal(norms, norms3));
  EXPECT_LT(distance(norms, at::stack({weight.to(at::kDouble).norm(),
                                       first.gradient.to(at::kDouble).norm()})),
            1e-13);
}

}  // namespace
}  // namespace largo::optim
