#include "trainer/nn/fused_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/nn/nn_test_util.h"
#include "trainer/nn/batch_norm.h"
#include "trainer/nn/memory_format.h"

namespace largo::nn {
namespace {

constexpr int64_t kVirtualBatch = 2;

// A layer's input, what is added to its output, and the gradient of that, in double precision.
struct Images {
  torch::Tensor x, residual, dy;

  explicit Images(at::IntArrayRef sizes, double mean = 1)
      : x(channels_last(random_tensor(sizes, 1) * 2 + mean)),
        residual(channels_last(random_tensor(sizes, 2))),
        dy(channels_last(random_tensor(sizes, 3))) {}
};

struct Case {
  bool relu = false, residual = false, training = true, affine = true;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "relu " << c.relu << " residual " << c.residual << " training " << c.training
             << " affine " << c.affine;
}

struct Outcome {
  torch::Tensor y, dx, dresidual, dweight, dbias, mean, variance;
  std::string by;  // what the last operation of the graph is

  std::vector<torch::Tensor> tensors() const {
    std::vector<torch::Tensor> all;
    for (const torch::Tensor& t : {y, dx, dresidual, dweight, dbias, mean, variance}) {
      if (t.defined()) all.push_back(t);
    }
    return all;
  }
};

bool is_fused(const Outcome& outcome) {
  return outcome.by.find("FusedNormalize") != std::string::npos;
}

torch::Tensor forward(Norm& norm, const torch::Tensor& x, const torch::Tensor& residual,
                      const StepContext& context, bool relu) {
  if (relu) return norm.forward_relu(x, context, residual);
  const torch::Tensor y = norm.forward(x, context);
  return residual.defined() ? y + residual : y;
}

void fill(Norm& norm) {
  const torch::NoGradGuard no_grad;
  const auto set = [](const torch::Tensor& tensor, const torch::Tensor& values) {
    if (tensor.defined()) tensor.copy_(values);
  };
  const int64_t channels = norm.weight.defined()
                               ? norm.weight.numel()
                               : (norm.buffers().empty() ? 0 : norm.buffers().front().numel());
  if (channels == 0) return;
  set(norm.weight, random_tensor({channels}, 11));
  set(norm.bias, random_tensor({channels}, 12));
  if (auto* const batch = dynamic_cast<BatchNorm*>(&norm)) {
    batch->running_mean.copy_(random_tensor({channels}, 13));
    batch->running_var.copy_(random_tensor({channels}, 14).abs() + 0.1);
  }
}

// One forward and backward of a layer whose parameters are of `parameters`, its images of `dtype`.
Outcome run(const NormOptions& options, const Images& images, const Case& c, torch::Dtype dtype,
            torch::Dtype parameters) {
  comm::SelfCommunicator self;
  const int64_t channels = images.x.size(1);
  const auto norm = make_norm(options, channels, self);
  norm->to(parameters);
  fill(*norm);
  Outcome outcome;
  if (auto* const batch = dynamic_cast<BatchNorm*>(norm.get()); batch != nullptr && c.training) {
    outcome.mean = torch::zeros({channels}, parameters);
    outcome.variance = torch::zeros({channels}, parameters);
    batch->deposit_into(outcome.mean, outcome.variance);
  }
  const TrainingStep step({images.x.size(0)});
  StepContext context = step.context();
  context.training = c.training;
  const auto leaf = [&](const torch::Tensor& values) {
    return values.to(dtype, /*non_blocking=*/false, /*copy=*/true).requires_grad_();
  };
  const torch::Tensor x = leaf(images.x);
  const torch::Tensor residual = c.residual ? leaf(images.residual) : torch::Tensor();
  const torch::Tensor y = forward(*norm, x, residual, context, c.relu);
  EXPECT_EQ(y.scalar_type(), dtype);
  y.backward(images.dy.to(dtype));
  outcome.by = y.grad_fn()->name();
  if (is_fused(outcome)) {
    EXPECT_EQ(y.strides(), x.strides());
  }
  outcome.y = y.detach();
  outcome.dx = x.grad();
  if (c.residual) outcome.dresidual = residual.grad();
  if (!options.affine) return outcome;
  outcome.dweight = norm->weight.grad();
  outcome.dbias = norm->bias.grad();
  return outcome;
}

void expect_close(const Outcome& a, const Outcome& b, double tolerance) {
  const auto all = a.tensors(), expected = b.tensors();
  ASSERT_EQ(all.size(), expected.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_LE(relative_error(all[i], expected[i]), tolerance) << "tensor " << i;
  }
}

class FusedNormTest : public testing::TestWithParam<NormKind> {
 protected:
  FusedNormTest() { at::set_num_threads(1); }

  static NormOptions options(int64_t channels, bool affine = true) {
    NormOptions options = {.kind = GetParam(), .virtual_batch = kVirtualBatch};
    if (GetParam() == NormKind::kGroup) options.groups = channels % 2 == 0 ? 2 : 1;
    options.affine = affine;
    return options;
  }

  static Outcome fused(const Images& images, const Case& c, torch::Dtype dtype = torch::kFloat32) {
    return run(options(images.x.size(1), c.affine), images, c, dtype, torch::kFloat32);
  }
  static Outcome reference(const Images& images, const Case& c) {
    return run(options(images.x.size(1), c.affine), images, c, torch::kFloat64, torch::kFloat64);
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, FusedNormTest,
                         testing::Values(NormKind::kBatch, NormKind::kSyncBatch,
                                         NormKind::kGhostBatch, NormKind::kGroup, NormKind::kLayer,
                                         NormKind::kInstance));

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const bool relu : {false, true}) {
    for (const bool residual : {false, true}) {
      for (const bool training : {false, true}) {
        all.push_back({relu, residual, training, true});
      }
    }
    all.push_back({relu, relu, true, /*affine=*/false});
  }
  return all;
}

// The last size is of several chunks of work per set of samples, whatever the kind.
TEST_P(FusedNormTest, EqualsPlainOperationsInDoublePrecision) {
  for (const auto& sizes : {std::vector<int64_t>{5, 6, 3, 4},
                            {1, 8, 5, 3},
                            {4, 1, 5, 7},
                            {3, 17, 2, 9},
                            {5, 36, 62, 63}}) {
    const Images images(sizes);
    for (const Case& c : cases()) {
      SCOPED_TRACE(testing::Message() << at::IntArrayRef(sizes) << ": " << c);
      const Outcome outcome = fused(images, c);
      if (c.relu || !c.residual) {
        EXPECT_TRUE(is_fused(outcome)) << outcome.by;
      }
      expect_close(outcome, reference(images, c), 1e-5);
    }
  }
}

TEST_P(FusedNormTest, LosesNothingToALargeMean) {
  const Images images({6, 4, 30, 31}, /*mean=*/1e4);
  Images rounded = images;  // what single precision can hold
  rounded.x = images.x.to(torch::kFloat32).to(torch::kFloat64);
  for (const bool residual : {false, true}) {
    const Case c = {.relu = true, .residual = residual};
    expect_close(fused(rounded, c), reference(rounded, c), 2e-5);
  }
}

TEST_P(FusedNormTest, Bfloat16ImagesKeepSinglePrecisionStatistics) {
  Images images({4, 16, 9, 8});
  for (torch::Tensor* const t : {&images.x, &images.residual, &images.dy}) {
    *t = t->to(torch::kBFloat16).to(torch::kFloat64);
  }
  for (const Case& c : cases()) {
    SCOPED_TRACE(testing::Message() << c);
    if (!c.relu && c.residual) continue;
    const Outcome outcome = fused(images, c, torch::kBFloat16);
    EXPECT_TRUE(is_fused(outcome)) << outcome.by;
    const Outcome expected = reference(images, c);
    expect_close(outcome, expected, 2e-2);
    if (!outcome.mean.defined()) continue;
    EXPECT_LE(relative_error(outcome.mean, expected.mean), 1e-5);
    EXPECT_LE(relative_error(outcome.variance, expected.variance), 1e-5);
  }
}

TEST_P(FusedNormTest, BitsDoNotDependOnThreadsOrRepetition) {
  const Images images({6, 24, 62, 63});
  for (const Case& c : {Case{.relu = true}, Case{.relu = true, .residual = true}, Case{}}) {
    const auto first = fused(images, c).tensors();
    for (const int threads : {1, 3, 4}) {
      at::set_num_threads(threads);
      const auto again = fused(images, c).tensors();
      at::set_num_threads(1);
      ASSERT_EQ(again.size(), first.size());
      for (size_t i = 0; i < first.size(); ++i) {
        EXPECT_TRUE(torch::equal(again[i], first[i])) << c << " threads " << threads << ", " << i;
      }
    }
  }
}

// What is not channels_last, not of single precision or switched off takes the plain way, and gives
// the same.
TEST_P(FusedNormTest, OtherImagesTakeThePlainWay) {
  const Images images({5, 6, 4, 5});
  const Case c = {.relu = true, .residual = true};
  const Outcome expected = reference(images, c);
  EXPECT_FALSE(is_fused(expected));

  Images nchw = images;
  for (torch::Tensor* const t : {&nchw.x, &nchw.residual, &nchw.dy}) *t = t->contiguous();
  EXPECT_FALSE(is_fused(fused(nchw, c)));
  expect_close(fused(nchw, c), expected, 1e-5);

  NormOptions off = options(6);
  off.fused = false;
  const Outcome plain = run(off, images, c, torch::kFloat32, torch::kFloat32);
  EXPECT_FALSE(is_fused(plain));
  expect_close(plain, expected, 1e-5);
}

// A window of larger images, and gradients and residuals in other layouts.
TEST_P(FusedNormTest, OtherLayoutsGiveTheSame) {
  const Images images({5, 6, 4, 5});
  const Case c = {.relu = true, .residual = true};
  const Outcome expected = reference(images, c);
  comm::SelfCommunicator self;
  const TrainingStep step({5});
  for (const bool window : {false, true}) {
    const auto norm = make_norm(options(6), 6, self);
    fill(*norm);
    torch::Tensor x = images.x.to(torch::kFloat32);
    if (window) {
      x = channels_last(torch::zeros({5, 6, 8, 8})).narrow(2, 2, 4).narrow(3, 1, 5).copy_(x);
      ASSERT_FALSE(can_fuse(x));
    }
    x = x.detach().requires_grad_();
    const torch::Tensor residual =
        images.residual.to(torch::kFloat32).contiguous().requires_grad_();
    const torch::Tensor y = norm->forward_relu(x, step.context(), residual);
    y.backward(images.dy.to(torch::kFloat32).contiguous());
    EXPECT_LE(relative_error(y.detach(), expected.y), 1e-5);
    EXPECT_LE(relative_error(x.grad(), expected.dx), 1e-5);
    EXPECT_LE(relative_error(residual.grad(), expected.dresidual), 1e-5);
    EXPECT_LE(relative_error(norm->weight.grad(), expected.dweight), 1e-5);
  }
  // The gradient of a sum is one number, expanded.
  const auto norm = make_norm(options(6), 6, self);
  norm->forward_relu(images.x.to(torch::kFloat32), step.context()).sum().backward();
  EXPECT_TRUE(torch::isfinite(norm->weight.grad()).all().item<bool>());
}

TEST_P(FusedNormTest, BackwardCanRunTwice) {
  const Images images({5, 6, 4, 5});
  comm::SelfCommunicator self;
  const TrainingStep step({5});
  const auto norm = make_norm(options(6), 6, self);
  const torch::Tensor x = images.x.to(torch::kFloat32).requires_grad_();
  const torch::Tensor residual = images.residual.to(torch::kFloat32).requires_grad_();
  const torch::Tensor y = norm->forward_relu(x, step.context(), residual);
  const torch::Tensor dy = images.dy.to(torch::kFloat32);
  y.backward(dy, /*retain_graph=*/true);
  const torch::Tensor once = x.grad().clone(), once_residual = residual.grad().clone();
  y.backward(dy);
  EXPECT_TRUE(torch::equal(x.grad(), 2 * once));
  EXPECT_TRUE(torch::equal(residual.grad(), 2 * once_residual));
}

// What backward needs of the output is guarded, not silently wrong.
TEST_P(FusedNormTest, OutputsChangedInPlaceAreRightOrRefused) {
  const Images images({5, 6, 4, 5});
  comm::SelfCommunicator self;
  const TrainingStep step({5});
  const auto norm = make_norm(options(6), 6, self);
  const torch::Tensor dy = images.dy.to(torch::kFloat32);
  torch::Tensor expected;
  for (const bool change : {false, true}) {
    const torch::Tensor x = images.x.to(torch::kFloat32).requires_grad_();
    torch::Tensor y = norm->forward_relu(x, step.context());
    if (change) y.add_(1);
    y.backward(dy);
    if (change) {
      EXPECT_TRUE(torch::equal(x.grad(), expected));
    }
    expected = x.grad();
  }
  const torch::Tensor x = images.x.to(torch::kFloat32).requires_grad_();
  torch::Tensor y = norm->forward_relu(x, step.context(), images.residual.to(torch::kFloat32));
  y.add_(1);
  EXPECT_THROW(y.backward(dy), c10::Error);
}

TEST_P(FusedNormTest, NanReachesTheOutput) {
  Images images({4, 6, 4, 5});
  images.x[3][4][2][1] = std::numeric_limits<double>::quiet_NaN();
  for (const bool training : {false, true}) {
    for (const bool residual : {false, true}) {
      const Outcome outcome = fused(images, {true, residual, training});
      EXPECT_TRUE(std::isnan(outcome.y[3][4][2][1].item<double>()));
      EXPECT_TRUE(std::isnan(outcome.dweight[4].item<double>()));
      if (GetParam() != NormKind::kBatch) continue;
      EXPECT_TRUE(torch::isfinite(outcome.y.select(1, 3)).all().item<bool>());
    }
  }
}

TEST_P(FusedNormTest, NothingIsRecordedWithoutGradients) {
  const Images images({4, 6, 4, 5});
  comm::SelfCommunicator self;
  const auto norm = make_norm(options(6), 6, self);
  const torch::NoGradGuard no_grad;
  const torch::Tensor y =
      norm->forward_relu(images.x.to(torch::kFloat32), TrainingStep({4}).context());
  EXPECT_FALSE(y.requires_grad());
  EXPECT_GE(y.min().item<double>(), 0);
}

// Ranks of 3, 0 and 2 samples are one process of 5, activation included.
TEST(FusedSyncBatchNormTest, RanksEqualOneProcess) {
  const Images images({5, 6, 4, 5});
  const std::vector<int64_t> counts = {3, 0, 2}, firsts = {0, 3, 3};
  for (const bool add : {false, true}) {
    const Case c = {.relu = true, .residual = add};
    const Outcome expected =
        run({.kind = NormKind::kBatch}, images, c, torch::kFloat64, torch::kFloat64);
    std::vector<Outcome> each(3);
    comm::spawn_ranks(3, [&](comm::Communicator& world) {
      const auto rank = static_cast<size_t>(world.rank());
      const auto norm = make_norm({.kind = NormKind::kSyncBatch}, 6, world);
      fill(*norm);
      const auto mine = [&](const torch::Tensor& whole) {
        const torch::Tensor part = whole.narrow(0, firsts[rank], counts[rank]);
        return channels_last(part.to(torch::kFloat32));
      };
      const TrainingStep step(counts);
      const torch::Tensor x = mine(images.x).detach().requires_grad_();
      const torch::Tensor residual =
          add ? mine(images.residual).detach().requires_grad_() : torch::Tensor();
      const torch::Tensor y = norm->forward_relu(x, step.context(), residual);
      y.backward(mine(images.dy));
      each[rank] = {.y = y.detach(),
                    .dx = x.grad(),
                    .dresidual = {},
                    .dweight = norm->weight.grad(),
                    .dbias = norm->bias.grad(),
                    .mean = {},
                    .variance = {},
                    .by = y.grad_fn()->name()};
      if (add) each[rank].dresidual = residual.grad();
    });
    for (const Outcome& outcome : each) EXPECT_TRUE(is_fused(outcome)) << outcome.by;
    const auto joined = [&](auto member) {
      return torch::cat({each[0].*member, each[1].*member, each[2].*member});
    };
    EXPECT_LE(relative_error(joined(&Outcome::y), expected.y), 1e-5);
    EXPECT_LE(relative_error(joined(&Outcome::dx), expected.dx), 1e-5);
    if (add) {
      EXPECT_LE(relative_error(joined(&Outcome::dresidual), expected.dresidual), 1e-5);
    }
    EXPECT_LE(relative_error(each[0].dweight + each[1].dweight + each[2].dweight, expected.dweight),
              1e-5);
    EXPECT_LE(relative_error(each[0].dbias + each[1].dbias + each[2].dbias, expected.dbias), 1e-5);
  }
}

}  // namespace
}  // namespace largo::nn
