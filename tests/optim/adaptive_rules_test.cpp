// Updates in one pass over memory against the same by ATen's operations.
#include "trainer/optim/adaptive_rules.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>
#include <vector>

namespace largo::optim {
namespace {

double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor wide = b.to(at::kDouble);
  return ((a.to(at::kDouble) - wide).norm() / wide.norm()).item<double>();
}

struct Problem {
  ParameterGroup group;
  std::vector<at::Tensor> gradients;
};

// Slots of averages of squares and of what is less in size than their roots, in turns. A gradient
// and state of 0 is among the elements.
Problem make_problem(const std::vector<int64_t>& counts, size_t slots, at::ScalarType dtype) {
  torch::manual_seed(11);
  Problem problem;
  problem.group.slots.resize(slots);
  for (const int64_t count : counts) {
    const auto draw = [&] {
      at::Tensor values = at::randn({count}, at::kDouble);
      if (count > 2) values[1] = 0;
      return values;
    };
    problem.group.weights.push_back(draw().to(dtype));
    problem.gradients.push_back(draw().to(dtype));
    for (size_t s = 0; s < slots; ++s) {
      const at::Tensor values = draw();
      problem.group.slots[s].push_back(
          (s % 2 == 0 ? values.square() + values.sign().abs() : values.tanh().abs()).to(dtype));
    }
  }
  return problem;
}

std::vector<at::Tensor> results(const ParameterGroup& group) {
  std::vector<at::Tensor> all = group.weights;
  for (const auto& slot : group.slots) all.insert(all.end(), slot.begin(), slot.end());
  return all;
}

template <class Rule>
struct Case {
  std::string name;
  Rule rule;
  size_t slots;
};

// Calls use(case) for every rule in all its variants.
template <class Use>
void for_each_case(const Use& use) {
  for (const double decay : {0.0, 0.1}) {
    use(Case<AdagradRule>{"adagrad", {.lr = 0.1, .decay = decay, .epsilon = 1e-3}, 1});
    use(Case<AdadeltaRule>{
        "adadelta", {.lr = 0.1, .decay = decay, .rho = 0.9, .epsilon = 1e-3}, 2});
    use(Case<LionRule>{"lion", {.lr = 0.1, .decay = decay, .b1 = 0.9, .b2 = 0.99}, 1});
    for (const bool centered : {false, true}) {
      for (const bool has_momentum : {false, true}) {
        const RmspropRule rule = {.lr = 0.1,
                                  .decay = decay,
                                  .m = 0.9,
                                  .alpha = 0.99,
                                  .epsilon = 1e-3,
                                  .centered = centered,
                                  .has_momentum = has_momentum};
        const std::string name = std::string("rmsprop") + (centered ? ", centered" : "") +
                                 (has_momentum ? ", momentum" : "");
        use(Case<RmspropRule>{name, rule, size_t{1} + (centered ? 1 : 0) + (has_momentum ? 1 : 0)});
      }
    }
  }
}

class AdaptiveRules : public testing::TestWithParam<at::ScalarType> {};

TEST_P(AdaptiveRules, InOnePassAreTheOperations) {
  const double most = GetParam() == at::kDouble ? 1e-14 : 1e-6;
  for_each_case([&](const auto& example) {
    for (const std::vector<int64_t>& counts :
         std::vector<std::vector<int64_t>>{{1}, {7, 16}, {33}, {70001, 5}}) {
      const Problem own = make_problem(counts, example.slots, GetParam());
      const Problem reference = make_problem(counts, example.slots, GetParam());
      const Problem before = make_problem(counts, example.slots, GetParam());
      update_in_one_pass(example.rule, own.group, own.gradients);
      update_by_operations(example.rule, reference.group, reference.gradients);
      const auto ours = results(own.group), theirs = results(reference.group),
                 olds = results(before.group);
      for (size_t i = 0; i < ours.size(); ++i) {
        EXPECT_LT(distance(ours[i], theirs[i]), most) << example.name << ", tensor " << i;
        EXPECT_FALSE(at::equal(ours[i], olds[i])) << example.name << ", tensor " << i;
      }
      for (size_t i = 0; i < counts.size(); ++i) {
        EXPECT_TRUE(at::equal(own.gradients[i], before.gradients[i])) << example.name;
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Types, AdaptiveRules, testing::Values(at::kFloat, at::kDouble));

TEST(AdaptiveRules, NoBitDependsOnTheThreads) {
  const int before = at::get_num_threads();
  for_each_case([&](const auto& example) {
    const auto run = [&](int threads) {
      at::set_num_threads(threads);
      const Problem problem = make_problem({300001, 40000}, example.slots, at::kFloat);
      update_in_one_pass(example.rule, problem.group, problem.gradients);
      return results(problem.group);
    };
    const auto one = run(1);
    for (const int threads : {2, 3, 5}) {
      const auto several = run(threads);
      for (size_t i = 0; i < one.size(); ++i) {
        EXPECT_TRUE(at::equal(one[i], several[i])) << example.name << ", " << threads;
      }
    }
  });
  at::set_num_threads(before);
}

}  // namespace
}  // namespace largo::optim
