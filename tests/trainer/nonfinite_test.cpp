// Steps whose gradient is not finite: stopped at or left out, by all ranks alike.
#include "trainer/nonfinite.h"

#include <gmock/gmock.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>

#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/trainer/nonfinite_cases.h"
#include "trainer/data/sampler.h"
#include "trainer/divergence.h"

namespace largo::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(LossSeed, IsOneAndNanOfALossThatIsNotFinite) {
  for (const double loss : {0.0, -0.0, 3.5, 1e38}) {
    const torch::Tensor of = torch::full({}, loss);
    EXPECT_TRUE(loss_seed(of).equal(torch::ones({})));
  }
  for (const double loss : {kInf, -kInf, kNan}) {
    EXPECT_TRUE(std::isnan(loss_seed(torch::full({}, loss)).item<double>()));
  }
}

NonfiniteSteps::Step step_of(int64_t number, double norm, double loss = 1) {
  return {number, 0.1, torch::full({}, norm, torch::kDouble), torch::full({}, loss)};
}

class Verdicts : public testing::Test {
 protected:
  NonfiniteSteps make(OnNonfinite policy, bool on_host, std::optional<int64_t> max_skipped = {},
                      const SkippedSteps& before = {}) {
    log_.set_rank(1, 2, "quiet");
    TrainOptions options;
    options.on_nonfinite = policy;
    options.max_skipped = max_skipped;
    return {options, before, on_host, world_, log_, [this](const NonfiniteStep& step) {
              reported_.push_back(step);
              return std::string("see the report");
            }};
  }

  comm::SelfCommunicator world_;
  Log log_;
  std::vector<NonfiniteStep> reported_;
};

// As on a GPU: nothing is read until check(), which names the first of them.
TEST_F(Verdicts, AreReadTogetherWhereTheHostDoesNotWait) {
  NonfiniteSteps steps = make(OnNonfinite::kStop, /*on_host=*/false);
  for (int64_t number = 0; number < 600; ++number) EXPECT_TRUE(steps.allows(step_of(number, 2)));
  steps.check();
  for (int64_t number = 600; number < 1000; ++number) {
    const bool bad = number == 870 || number == 871;
    EXPECT_TRUE(steps.allows(step_of(number, bad ? kInf : 2, number == 999 ? kNan : 1)));
  }
  EXPECT_THAT(checkpoint::error_of(ExitCode::kNumerical, [&] { steps.check(); }),
              AllOf(HasSubstr("gradient of step 871"), HasSubstr("its norm is inf"),
                    HasSubstr("not finite on rank 0 in step 1000"), HasSubstr("see the report")));
  ASSERT_EQ(reported_.size(), 1U);
  EXPECT_EQ(reported_[0].step, 871);
  EXPECT_EQ(reported_[0].seen_in_step, 1000);
}

TEST_F(Verdicts, SkipCountsAndStopsAfterSoManyInARow) {
  NonfiniteSteps steps =
      make(OnNonfinite::kSkip, /*on_host=*/false, 2, {.total = 5, .in_a_row = 1});
  EXPECT_FALSE(steps.allows(step_of(0, kNan)));
  EXPECT_TRUE(steps.allows(step_of(1, 1)));
  EXPECT_FALSE(steps.allows(step_of(2, kNan)));
  EXPECT_FALSE(steps.allows(step_of(3, kInf)));
  EXPECT_EQ(steps.skipped().total, 8);
  EXPECT_EQ(steps.skipped().in_a_row, 2);
  steps.check();
  EXPECT_THAT(checkpoint::error_of(ExitCode::kNumerical, [&] { steps.allows(step_of(4, kNan)); }),
              AllOf(HasSubstr("gradient of step 5"), HasSubstr("2 steps before were left out"),
                    HasSubstr("train.max_skipped allows 2"), Not(HasSubstr("on_nonfinite"))));
  EXPECT_EQ(reported_.at(0).skipped_in_a_row, 2);
}

TEST_F(Verdicts, TenInARowUnlessGiven) {
  NonfiniteSteps steps = make(OnNonfinite::kSkip, /*on_host=*/true);
  for (int64_t number = 0; number < 10; ++number) EXPECT_FALSE(steps.allows(step_of(number, kNan)));
  EXPECT_THROW(steps.allows(step_of(10, kNan)), AgreedError);
}

TEST_F(Verdicts, WeightsThatAFiniteGradientMadeInfiniteEndTheRunWithAReport) {
  for (const bool on_host : {true, false}) {
    for (const OnNonfinite policy : {OnNonfinite::kStop, OnNonfinite::kSkip}) {
      reported_.clear();
      NonfiniteSteps steps = make(policy, on_host);
      torch::Tensor weight = torch::ones({2, 3});
      const torch::Tensor bias = torch::ones({3});
      EXPECT_TRUE(steps.allows(step_of(6, 2.5)));
      steps.check();
      steps.check_weights({{"fc.weight", weight}, {"fc.bias", bias}});
      EXPECT_TRUE(reported_.empty());
      weight[1][2] = kInf;
      weight[0][0] = kNan;
      EXPECT_THAT(
          checkpoint::error_of(ExitCode::kNumerical,
                               [&] {
                                 steps.check_weights({{"fc.weight", weight}, {"fc.bias", bias}});
                               }),
          AllOf(HasSubstr("after step 7 fc.weight (2 of 6 values) is not finite"),
                HasSubstr("the step's gradient is 2.5"), HasSubstr("see the report"),
                Not(HasSubstr("on_nonfinite"))));
      ASSERT_EQ(reported_.size(), 1U);
      EXPECT_TRUE(reported_[0].in_weights);
      EXPECT_EQ(reported_[0].step, 7);
      EXPECT_EQ(reported_[0].grad_norm, 2.5);
    }
  }
}

TEST(NotFinite, IsToldInOrderTheFirstByName) {
  std::vector<std::pair<std::string, torch::Tensor>> tensors;
  tensors.reserve(7);
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    tensors.emplace_back(name, torch::ones({4}));
  }
  tensors.emplace_back("count", torch::ones({}, torch::kLong));
  EXPECT_TRUE(not_finite(tensors).empty());
  tensors[1].second[3] = -kInf;
  EXPECT_EQ(describe(not_finite(tensors)), "b (1 of 4 values)");
  tensors[4].second.fill_(kNan);
  EXPECT_EQ(describe(not_finite(tensors)), "b (1 of 4 values) and e (all 4 values)");
  tensors[3].second[0] = kNan;
  EXPECT_EQ(describe(not_finite(tensors)),
            "b (1 of 4 values), d (1 of 4 values) and e (all 4 values)");
  tensors[5].second[0] = kNan;
  EXPECT_EQ(describe(not_finite(tensors)),
            "b (1 of 4 values), d (1 of 4 values), e (all 4 values) and 1 more");
}

void on_ranks(int ranks, const nn::NormOptions& norm,
              const std::function<void(comm::Communicator&, comm::Communicator&)>& body) {
  comm::spawn_ranks(ranks, [&](comm::Communicator& world) {
    const auto norms = world.split(norm_color(norm, world.rank()), world.rank());
    body(world, *norms);
  });
}

TEST(Nonfinite, AllRanksDecideAlikeWhicheverIsBad) {
  torch::set_num_threads(1);
  for (const int ranks : {1, 2, 4}) on_ranks(ranks, nonfinite_toy().norm, expect_same_decision);
}

// As of a sample whose label has no probability at all.
TEST(Nonfinite, AnInfiniteLossStopsTheRunThoughItsGradientIsFinite) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "mlp",
                        .norm_given = false,
                        .precision = Precision::kFloat32,
                        .steps = 2,
                        .shape = {1, 8, 8}};
  options.batch = {.global = 16, .max_micro = 4};
  options.prepares = [](nn::Model& model) {
    const torch::NoGradGuard no_grad;
    torch::Tensor bias = model.named_parameters()["fc3.bias"];
    bias.fill_(-3e38);
    bias[0] = 3e38;
  };
  on_ranks(2, {}, [&](comm::Communicator& world, comm::Communicator& norms) {
    EXPECT_THAT(end_of(options, world, norms),
                AllOf(HasSubstr("the gradient of step 1 is not finite: its norm is nan"),
                      HasSubstr("the loss is not finite on ranks 0, 1")));
  });
}

using Named = std::vector<std::pair<std::string, torch::Tensor>>;

void expect_same_bits(const Named& found, const Named& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(found[i].second.equal(expected[i].second)) << found[i].first;
  }
}

// Weights, running statistics, average and optimizer are those of the step before, to the bit; the
// schedule goes on.
TEST(Nonfinite, ASkippedStepChangesNothingButTheTime) {
  torch::set_num_threads(1);
  for (const char* optimizer : {"sgd", "adamw", "lamb"}) {
    SCOPED_TRACE(optimizer);
    ToyOptions options = nonfinite_toy();
    options.optimizer = {.kind = optimizer};
    options.on_nonfinite = OnNonfinite::kSkip;
    const ToyResult whole = run_toy_alone(options);
    options.steps = 2;
    const ToyResult before = run_toy_alone(options);
    options.steps = 3;
    options.poisons = [](int, int64_t step) { return step == 2; };
    const ToyResult skipped = run_toy_alone(options);
    EXPECT_THAT(skipped.skipped, ElementsAre(false, false, true));
    expect_same_bits(skipped.state, before.state);
    expect_same_bits(skipped.optimizer_state, before.optimizer_state);
    EXPECT_EQ(skipped.noise_scales[2], skipped.noise_scales[1]);

    options.steps = 4;
    const ToyResult after = run_toy_alone(options);
    EXPECT_EQ(after.lrs, whole.lrs);
    EXPECT_TRUE(std::isfinite(after.losses[3]));
    EXPECT_FALSE(after.state[0].second.equal(before.state[0].second)) << "training goes on";
  }
}

TEST(Nonfinite, AdaScaleLearnsNothingOfASkippedStep) {
  torch::set_num_threads(1);
  ToyOptions options = nonfinite_toy();
  options.adascale_base = 8;
  options.on_nonfinite = OnNonfinite::kSkip;
  options.poisons = [](int, int64_t step) { return step == 1; };
  const ToyResult result = run_toy_alone(options);
  EXPECT_THAT(result.skipped, ElementsAre(false, true, false, false));
  EXPECT_EQ(result.lrs[2], result.lrs[1]) << "the gain is the same";
  EXPECT_TRUE(std::isfinite(result.lrs[3]));
}

TEST(Nonfinite, TheReportTellsTheSamplesTheLayersAndTheRanks) {
  torch::set_num_threads(1);
  const checkpoint::TemporaryFolder folder;
  ToyOptions options = nonfinite_toy();
  options.directory = folder.path();
  options.poisons = [](int rank, int64_t step) { return rank == 1 && step == 2; };
  on_ranks(2, options.norm, [&](comm::Communicator& world, comm::Communicator& norms) {
    const std::string end = end_of(options, world, norms);
    EXPECT_EQ(
        end.find((folder.path() / "nonfinite-step-00000003.json").string()) != std::string::npos,
        world.rank() == 0)
        << end;
  });
  std::ifstream file(folder.path() / "nonfinite-step-00000003.json");
  const auto report = nlohmann::json::parse(file);
  EXPECT_EQ(report["found_in"], "gradient");
  EXPECT_EQ(report["step"], 3);
  EXPECT_EQ(report["seen_in_step"], 3);
  EXPECT_EQ(report["grad_norm"], "nan");
  EXPECT_GT(report["lr"].get<double>(), 0);
  EXPECT_TRUE(report["loss"].is_number());
  EXPECT_EQ(report["loss_sum_by_rank"].size(), 2U);
  EXPECT_TRUE(report["not_finite"].empty()) << "the update was not made";
  for (const auto& layer : report["gradients"]) {
    const bool is_bad = layer["name"] == "fc.bias";
    EXPECT_EQ(layer["norm"] == "nan", is_bad) << layer;
    EXPECT_EQ(layer["not_finite"], is_bad ? 10 : 0) << layer;
  }
  std::vector<int64_t> found;
  for (const auto& part : report["samples"]) {
    EXPECT_EQ(part["indices"].size(), 4U);
    for (const auto& index : part["indices"]) found.push_back(index.get<int64_t>());
  }
  EXPECT_EQ(report["samples"].size(), 8U);
  std::vector<int64_t> expected;
  data::Sampler sampler(5, options.train_samples);  // toy_run's seed
  for (const SampleKey& key : sampler.keys(64, 32)) expected.push_back(key.index);
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace largo::test
