// Parameter groups, and momentum and weight decay that change from step to step.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <ostream>

#include "comm/base/error.h"
#include "trainer/optim/optimizer.h"

namespace largo::optim {
namespace {

torch::Tensor leaf(const torch::Tensor& values) {
  return values.detach().clone().requires_grad_(true);
}

constexpr int kSteps = 6;
double lr_at(int step) { return 0.02 * (1 + step % 3); }

// Four parameters and their gradients, in double precision.
struct Problem {
  Problem() {
    torch::manual_seed(7);
    const auto f64 = torch::TensorOptions(torch::kDouble);
    for (const std::vector<int64_t>& shape :
         {std::vector<int64_t>{4, 3}, {4}, {2, 4}, std::vector<int64_t>{2}}) {
      values.push_back(torch::randn(shape, f64));
    }
    for (int step = 0; step < kSteps; ++step) {
      for (const torch::Tensor& value : values) {
        gradients[step].push_back(torch::randn_like(value));
      }
    }
  }

  std::vector<Parameter> parameters() const {
    return {{"conv.weight", leaf(values[0]), false},
            {"conv.bias", leaf(values[1]), true},
            {"fc.weight", leaf(values[2]), false},
            {"fc.bias", leaf(values[3]), true}};
  }

  std::vector<torch::Tensor> values;
  std::vector<torch::Tensor> gradients[kSteps];
};

const std::vector<GroupOptions> kGroups = {{.match = "fc.*", .lr_factor = 10, .weight_decay = 0.2},
                                           {.match = "*.bias", .lr_factor = 2}};
constexpr double kDecay = 0.1;

// kGroups, written as PyTorch's: factor and decay of each parameter.
constexpr double kFactors[] = {1, 2, 10, 10};
constexpr double kDecays[] = {kDecay, 0, 0.2, 0.2};

// Both from the same weights; PyTorch's learning rate is set by `set_lr(options, lr)`.
template <class TorchOptimizer, class TorchOptions>
void expect_as_torch(const OptimizerOptions& options, const TorchOptions& torch_options) {
  const Problem problem;
  std::vector<torch::Tensor> torch_weights;
  std::vector<torch::optim::OptimizerParamGroup> torch_groups;
  for (size_t i = 0; i < 4; ++i) {
    torch_weights.push_back(leaf(problem.values[i]));
    auto of_group = std::make_unique<TorchOptions>(torch_options);
    of_group->weight_decay(kDecays[i]);
    torch_groups.emplace_back(std::vector{torch_weights[i]}, std::move(of_group));
  }
  TorchOptimizer expected(torch_groups, torch_options);
  const std::vector<Parameter> parameters = problem.parameters();
  const auto optimizer = make_optimizer(options, parameters);
  for (int step = 0; step < kSteps; ++step) {
    for (size_t i = 0; i < 4; ++i) {
      torch_weights[i].mutable_grad() = problem.gradients[step][i].clone();
      expected.param_groups()[i].options().set_lr(lr_at(step) * kFactors[i]);
    }
    expected.step();
    optimizer->step(problem.gradients[step], lr_at(step));
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_LE((parameters[i].tensor - torch_weights[i]).abs().max().item<double>(), 1e-12)
          << parameters[i].name << " after step " << step;
    }
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_GT((parameters[i].tensor - problem.values[i]).abs().max().item<double>(), 1e-2);
  }
}

OptimizerOptions grouped(const std::string& kind) {
  OptimizerOptions options;
  options.kind = kind;
  options.weight_decay = kDecay;
  options.groups = kGroups;
  return options;
}

TEST(Groups, AreTorchsOfSgd) {
  OptimizerOptions options = grouped("sgd");
  expect_as_torch<torch::optim::SGD>(options, torch::optim::SGDOptions(1).momentum(0.9));
  options.nesterov = true;
  expect_as_torch<torch::optim::SGD>(options,
                                     torch::optim::SGDOptions(1).momentum(0.9).nesterov(true));
}

TEST(Groups, AreTorchsOfAdamAndAdamW) {
  expect_as_torch<torch::optim::Adam>(grouped("adam"), torch::optim::AdamOptions(1));
  expect_as_torch<torch::optim::AdamW>(grouped("adamw"), torch::optim::AdamWOptions(1));
}

struct Case {
  std::string name;
  OptimizerOptions options;
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

// Every kind in every form that treats learning rate, momentum or decay in its own way.
std::vector<Case> all_cases() {
  const auto of = [](const std::string& name, const std::string& kind, auto... change) {
    Case made{name, {}};
    made.options.kind = kind;
    made.options.max_grad_norm = 0;  // of lamb, which is over all parameters together
    (change(made.options), ...);
    return made;
  };
  const auto nesterov = [](OptimizerOptions& o) { o.nesterov = true; };
  const auto absorbed = [](OptimizerOptions& o) { o.momentum_form = MomentumForm::kAbsorbed; };
  const auto corrected = [](OptimizerOptions& o) { o.momentum_correction = true; };
  const auto momentum = [](OptimizerOptions& o) { o.momentum = 0.9; };
  return {of("sgd", "sgd"),
          of("sgd_nesterov", "sgd", nesterov),
          of("sgd_dampening", "sgd", [](OptimizerOptions& o) { o.dampening = 0.3; }),
          of("sgd_absorbed", "sgd", absorbed, nesterov),
          of("sgd_corrected", "sgd", absorbed, corrected),
          of("rmsprop", "rmsprop", momentum, [](OptimizerOptions& o) { o.centered = true; }),
          of("lars", "lars"),
          of("lars_nesterov", "lars", nesterov),
          of("lars_clipped", "lars", [](OptimizerOptions& o) { o.trust_clip = true; }),
          of("lars_absorbed", "lars", absorbed),
          of("lars_corrected", "lars", absorbed, corrected),
          of("adam", "adam", [](OptimizerOptions& o) { o.amsgrad = true; }),
          of("adamw", "adamw"),
          of("lion", "lion"),
          of("lamb", "lamb"),
          of("adagrad", "adagrad", [](OptimizerOptions& o) { o.lr_decay = 0.1; }),
          of("adadelta", "adadelta")};
}

bool has_betas(const OptimizerOptions& options) { return !with_defaults(options).betas.empty(); }
bool has_momentum(const OptimizerOptions& options) {
  return has_betas(options) || with_defaults(options).momentum.has_value();
}

class EveryForm : public testing::TestWithParam<Case> {};

// Those with a buffer that a momentum of 0 empties.
class FormWithMomentum : public testing::TestWithParam<Case> {};

std::vector<Case> cases_with_momentum() {
  std::vector<Case> cases = all_cases();
  std::erase_if(cases, [](const Case& form) {
    return has_betas(form.options) || !has_momentum(form.options);
  });
  return cases;
}

// A group is what an optimizer of its own would be, with its learning rate and decay.
TEST_P(EveryForm, AGroupIsAnOptimizerOfItsOwn) {
  const Problem problem;
  OptimizerOptions options = GetParam().options;
  options.weight_decay = kDecay;
  OptimizerOptions together_options = options;
  together_options.groups = kGroups;
  const std::vector<Parameter> together = problem.parameters();
  const auto optimizer = make_optimizer(together_options, together);
  const std::vector<Parameter> apart = problem.parameters();
  std::vector<std::unique_ptr<Optimizer>> alone;
  for (size_t i = 0; i < 4; ++i) {
    options.weight_decay = kDecays[i];
    options.decay_norm_and_bias = i >= 2;  // which a group's own decay is for
    alone.push_back(make_optimizer(options, {apart[i]}));
  }
  for (int step = 0; step < kSteps; ++step) {
    optimizer->step(problem.gradients[step], lr_at(step));
    for (size_t i = 0; i < 4; ++i) {
      alone[i]->step(std::vector{problem.gradients[step][i]}, lr_at(step) * kFactors[i]);
      EXPECT_LE((together[i].tensor - apart[i].tensor).abs().max().item<double>(), 1e-12)
          << together[i].name << " after step " << step;
    }
  }
}

// The state does not know the groups: a checkpoint can be read whatever they are.
TEST_P(EveryForm, GroupsAreNotInTheState) {
  const Problem problem;
  OptimizerOptions options = GetParam().options;
  const auto plain = make_optimizer(options, problem.parameters());
  options.groups = kGroups;
  const auto with_groups = make_optimizer(options, problem.parameters());
  const auto names = [](Optimizer& optimizer) {
    std::vector<std::string> all;
    for (const auto& [name, tensor] : optimizer.state()) all.push_back(name);
    return all;
  };
  EXPECT_EQ(names(*plain), names(*with_groups));
}

// A factor of 0 holds the weights.
TEST_P(EveryForm, AFactorOfZeroFreezes) {
  const Problem problem;
  OptimizerOptions options = GetParam().options;
  options.weight_decay = kDecay;
  options.groups = {{.match = "fc.weight", .lr_factor = 0}};
  const std::vector<Parameter> parameters = problem.parameters();
  const auto optimizer = make_optimizer(options, parameters);
  for (const auto& gradients : problem.gradients) optimizer->step(gradients, 0.1);
  EXPECT_TRUE(torch::equal(parameters[2].tensor, problem.values[2]));
  EXPECT_FALSE(torch::equal(parameters[3].tensor, problem.values[3]));
}

// Rates that are scheduled to one value are that value as an option.
TEST_P(EveryForm, AScheduledRateIsTheOption) {
  const Problem problem;
  const bool betas = has_betas(GetParam().options);
  OptimizerOptions fixed = GetParam().options;
  OptimizerOptions changed = GetParam().options;
  for (OptimizerOptions* options : {&fixed, &changed}) {
    const double momentum = options == &fixed ? 0.8 : 0.5;
    if (betas) {
      options->betas = {momentum, 0.97};
    } else if (has_momentum(*options)) {
      options->momentum = momentum;
    }
    options->weight_decay = options == &fixed ? 0.05 : 0.3;
  }
  const std::vector<Parameter> expected = problem.parameters();
  const std::vector<Parameter> found = problem.parameters();
  const auto by_option = make_optimizer(fixed, expected);
  const auto by_rate = make_optimizer(changed, found);
  const auto momentum = has_momentum(fixed) ? std::optional<double>(0.8) : std::optional<double>();
  for (int step = 0; step < kSteps; ++step) {
    by_option->step(problem.gradients[step], lr_at(step));
    by_rate->step(problem.gradients[step], {lr_at(step), momentum, 0.05});
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(torch::equal(expected[i].tensor, found[i].tensor)) << expected[i].name;
  }
}

// Weight decay that is scheduled leaves exempt parameters and groups with their own alone.
TEST_P(EveryForm, AScheduledDecayIsOfThoseThatHaveTheOptions) {
  const Problem problem;
  OptimizerOptions options = GetParam().options;
  options.weight_decay = kDecay;
  options.groups = {{.match = "fc.weight", .weight_decay = 0.2}};
  const std::vector<Parameter> plain = problem.parameters();
  const std::vector<Parameter> scheduled = problem.parameters();
  const auto first = make_optimizer(options, plain);
  const auto second = make_optimizer(options, scheduled);
  for (int step = 0; step < kSteps; ++step) {
    first->step(problem.gradients[step], lr_at(step));
    second->step(problem.gradients[step], {lr_at(step), std::nullopt, 0.7});
  }
  EXPECT_FALSE(torch::equal(plain[0].tensor, scheduled[0].tensor));
  for (const size_t i : {1, 2, 3}) {
    EXPECT_TRUE(torch::equal(plain[i].tensor, scheduled[i].tensor)) << plain[i].name;
  }
}

// After a step without momentum nothing is left of the gradients before it.
TEST_P(FormWithMomentum, OfZeroForgets) {
  const Problem problem;
  const std::vector<Parameter> whole = problem.parameters();
  const std::vector<Parameter> late = problem.parameters();
  const auto before = make_optimizer(GetParam().options, whole);
  const auto after = make_optimizer(GetParam().options, late);
  for (int step = 0; step < 3; ++step) {
    before->step(problem.gradients[step], {lr_at(step), 0.9});
  }
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < 4; ++i) late[i].tensor.copy_(whole[i].tensor);
  const auto from = before->state();
  const auto to = after->state();
  int buffers = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i].first.ends_with(".momentum")) {
      ++buffers;
    } else {
      to[i].second.copy_(from[i].second);
    }
  }
  EXPECT_EQ(buffers, 4);
  for (int step = 3; step < kSteps; ++step) {
    const double momentum = step == 3 ? 0 : 0.7;
    before->step(problem.gradients[step], {lr_at(step), momentum});
    after->step(problem.gradients[step], {lr_at(step), momentum});
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_TRUE(torch::equal(whole[i].tensor, late[i].tensor)) << whole[i].name << ' ' << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, EveryForm, testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Forms, FormWithMomentum, testing::ValuesIn(cases_with_momentum()),
                         [](const auto& info) { return info.param.name; });

// The formula, step by step: m = 0 gives u = (1 - dampening) * g', and momentum goes on from there.
TEST(ScheduledMomentum, IsTheFormulaOfSgd) {
  const double momenta[] = {0.9, 0, 0, 0.5, 0.9, 0};
  for (const double dampening : {0.0, 0.25}) {
    for (const bool nesterov : {false, true}) {
      if (nesterov && dampening > 0) continue;
      const Problem problem;
      OptimizerOptions options{.nesterov = nesterov, .weight_decay = kDecay};
      options.dampening = dampening;
      const torch::Tensor weight = leaf(problem.values[0]);
      const auto optimizer = make_optimizer(options, {{"w", weight}});
      torch::Tensor w = problem.values[0].clone();
      torch::Tensor u = torch::zeros_like(w);
      for (int step = 0; step < kSteps; ++step) {
        const double m = momenta[step];
        const torch::Tensor g = problem.gradients[step][0] + kDecay * w;
        u = m * u + (step == 0 ? 1 : 1 - dampening) * g;
        w = w - lr_at(step) * (nesterov ? g + m * u : u);
        optimizer->step(std::vector{problem.gradients[step][0]}, {lr_at(step), m});
        EXPECT_LE((weight - w).abs().max().item<double>(), 1e-14) << step;
        EXPECT_LE((optimizer->state()[0].second - u).abs().max().item<double>(), 1e-14) << step;
      }
    }
  }
}

// Goyal et al. 2017, (9) and (10): with the correction the absorbed form is the one outside,
// however the learning rate moves, and whether or not one looks ahead.
TEST(AbsorbedMomentum, CorrectedIsTheFormOutside) {
  const double lrs[] = {0.1, 0.2, 1e-3, 0.4, 0.05, 0.3};
  const double momenta[] = {0.9, 0.9, 0.5, 0.95, 0.9, 0.8};
  for (const char* kind : {"sgd", "lars"}) {
    for (const bool nesterov : {false, true}) {
      const Problem problem;
      OptimizerOptions options{.kind = kind, .nesterov = nesterov, .weight_decay = kDecay};
      options.epsilon = 1e-8;  // of lars: each form has a default of its own
      const torch::Tensor outside = leaf(problem.values[0]);
      const auto reference = make_optimizer(options, {{"w", outside}});
      options.momentum_form = MomentumForm::kAbsorbed;
      options.momentum_correction = true;
      const torch::Tensor absorbed = leaf(problem.values[0]);
      const auto optimizer = make_optimizer(options, {{"w", absorbed}});
      for (int step = 0; step < kSteps; ++step) {
        const std::vector gradients = {problem.gradients[step][0]};
        reference->step(gradients, {lrs[step], momenta[step]});
        optimizer->step(gradients, {lrs[step], momenta[step]});
        EXPECT_LE((absorbed - outside).abs().max().item<double>(), 1e-14)
            << kind << (nesterov ? ", Nesterov, step " : ", step ") << step;
      }
    }
  }
}

// Adam's first average under beta 0 is the gradient.
TEST(ScheduledMomentum, IsTheFirstBetaOfAdam) {
  const torch::Tensor weight = leaf(torch::zeros({1}, torch::kDouble));
  const auto optimizer = make_optimizer({.kind = "adam"}, {{"w", weight}});
  const auto gradient = [](double value) {
    return std::vector{torch::full({1}, value, torch::kDouble)};
  };
  optimizer->step(gradient(4), {0.1, 0.5});
  EXPECT_NEAR(optimizer->state()[0].second.item<double>(), 2, 1e-15);
  optimizer->step(gradient(-3), {0.1, 0.0});
  EXPECT_NEAR(optimizer->state()[0].second.item<double>(), -3, 1e-15);
  const double second = (0.999 * 0.001 * 16 + 0.001 * 9) / (1 - 0.999 * 0.999);
  EXPECT_NEAR(weight.item<double>(), -0.1 + 0.1 * 3 / std::sqrt(second), 1e-7);
}

// A decay that begins at 0 does not switch the trust ratio on and off.
TEST(ScheduledDecay, KeepsLambsTrustRatio) {
  const Problem problem;
  const auto after = [&](bool scheduled, bool always) {
    OptimizerOptions options{.kind = "lamb", .weight_decay = 0};
    options.always_adapt = always;
    if (scheduled) options.weight_decay_schedule.policy.kind = PolicyKind::kCosine;
    const std::vector<Parameter> parameters = problem.parameters();
    make_optimizer(options, parameters)->step(problem.gradients[0], {0.1, std::nullopt, 0.0});
    return parameters[0].tensor;
  };
  EXPECT_TRUE(torch::equal(after(true, false), after(false, true)));
  EXPECT_FALSE(torch::equal(after(true, false), after(false, false)));
}

// A cyclic schedule's optimizer has no rate of its own, and all of the state.
TEST(ScheduledMomentum, MayBeTheOnlyOne) {
  OptimizerOptions options;
  options.momentum_schedule.policy.kind = PolicyKind::kTriangular;
  options.weight_decay_schedule.policy.kind = PolicyKind::kTriangular;
  const torch::Tensor weight = leaf(torch::ones({1}, torch::kDouble));
  const auto optimizer = make_optimizer(options, {{"w", weight}});
  for (int step = 0; step < 2; ++step) {
    optimizer->step(std::vector{torch::zeros({1}, torch::kDouble)}, {0.5, 0.5, 0.1});
  }
  // u = 0.1, w = 0.95; u = 0.05 + 0.095, w = 0.95 - 0.0725
  EXPECT_NEAR(weight.item<double>(), 0.8775, 1e-15);
}

TEST(ScheduledMomentum, NeedsAnOptimizerThatKeepsIt) {
  const std::vector gradients = {torch::ones({2})};
  const auto plain = make_optimizer({.momentum = 0}, {{"w", leaf(torch::ones({2}))}});
  EXPECT_THROW(plain->step(gradients, {0.1, 0.5}), Error);
  EXPECT_NO_THROW(plain->step(gradients, {0.1, 0.0}));
  OptimizerOptions scheduled{.momentum = 0};
  scheduled.momentum_schedule.policy.kind = PolicyKind::kCosine;
  const auto kept = make_optimizer(scheduled, {{"w", leaf(torch::ones({2}))}});
  EXPECT_NO_THROW(kept->step(gradients, {0.1, 0.5}));
  EXPECT_EQ(kept->state().size(), 1U);
  EXPECT_THROW(kept->step(gradients, {0.1, 1.0}), Error);
  EXPECT_THROW(kept->step(gradients, {0.1, -0.1}), Error);
}

TEST(Groups, WithoutParametersAreRefused) {
  OptimizerOptions options;
  options.groups = {{.match = "fd.*"}};
  EXPECT_THROW(make_optimizer(options, Problem().parameters()), OptionError);
}

}  // namespace
}  // namespace largo::optim
