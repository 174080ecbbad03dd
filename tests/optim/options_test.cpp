#include "trainer/optim/options.h"

#include <gmock/gmock.h>

namespace largo::optim {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::SizeIs;

LrOptions goyal() {
  LrOptions options;
  options.base = 0.1;
  options.base_batch = 256;
  return options;
}

auto problem(const std::string& key, const std::string& words) {
  return AllOf(Field(&OptionProblem::key, key), Field(&OptionProblem::message, HasSubstr(words)));
}

std::optional<std::string> set(LrOptions& options, const std::string& key,
                               const std::string& text) {
  OptionTable table;
  declare_options(table, options);
  return table.find(key)->set({.is_list = false, .scalar = text, .items = {}});
}

TEST(WarmupStartCodec, ReadsWordsAndNumbers) {
  using Codec = OptionCodec<WarmupStart>;
  for (const char* text : {"base", "zero", "0.025"}) {
    EXPECT_EQ(Codec::print(Codec::parse(text)), text);
  }
  EXPECT_EQ(Codec::parse("0.5"), (WarmupStart{WarmupStart::Kind::kNumber, 0.5}));
  EXPECT_THROW(Codec::parse("-0.5"), std::invalid_argument);
  EXPECT_THROW(Codec::parse("bse"), std::invalid_argument);
}

TEST(OptimOptions, EveryKeyPrintsWhatItReadsBack) {
  LrOptions lr = goyal();
  lr.policy.milestones = {{30, Duration::Unit::kEpochs}, {400, Duration::Unit::kSteps}};
  lr.warmup.length = Duration{5, Duration::Unit::kEpochs};
  OptimizerOptions sgd;
  OptionTable table;
  declare_options(table, sgd);
  declare_options(table, lr);
  for (const Option& option : table.options()) {
    if (option.is_list || !option.text()) continue;
    EXPECT_EQ(option.set({.is_list = false, .scalar = *option.text(), .items = {}}), std::nullopt)
        << option.key;
  }
  EXPECT_EQ(table.find("lr.policy.milestones")->text(), "[30ep, 400steps]");
  EXPECT_EQ(table.find("lr.policy_clock")->text(), "by_policy");
}

TEST(OptimOptions, KeysBelongToTheirKinds) {
  LrOptions lr;
  OptionTable table;
  declare_options(table, lr);
  const auto kinds = [&](const char* key) { return table.find(key)->info.applies.kinds; };
  EXPECT_THAT(kinds("lr.policy.length"),
              AllOf(IsSupersetOf({"step", "exponential", "polynomial", "cosine", "sigmoid",
                                  "one_cycle", "triangular", "cosine_sawtooth_halving"}),
                    Not(Contains("constant")), Not(Contains("multistep"))));
  EXPECT_THAT(kinds("lr.policy.k0"), SizeIs(27));
  EXPECT_THAT(kinds("lr.base"), AllOf(SizeIs(19), Contains("step"), Not(Contains("sine"))));
  EXPECT_THAT(kinds("lr.policy.gamma_per"),
              AllOf(SizeIs(11), IsSupersetOf({"inverse", "sigmoid", "sine_down_exponential"})));
  EXPECT_THAT(kinds("lr.policy.milestones"), ElementsAre("multistep"));
  EXPECT_THAT(kinds("lr.policy.gamma"),
              AllOf(SizeIs(14), IsSupersetOf({"step", "multistep", "exponential", "inverse"})));
  EXPECT_THAT(kinds("lr.policy.power"), ElementsAre("inverse", "polynomial"));
  EXPECT_THAT(kinds("lr.policy.end"),
              ElementsAre("polynomial", "sigmoid_decay", "cosine", "cosine_restarts", "trapezoid"));
  EXPECT_THAT(kinds("lr.warmup.start"),
              ElementsAre("constant", "gradual", "exponential", "sigmoid"));
  EXPECT_THAT(kinds("lr.warmup.length"),
              ElementsAre("constant", "gradual", "exponential", "sigmoid"));
  EXPECT_THAT(kinds("lr.warmup.kappa"), ElementsAre("sigmoid"));
  EXPECT_EQ(table.find("lr.policy.gamma")->info.applies.kind_key, "lr.policy.kind");
  EXPECT_EQ(table.find("lr.warmup.start")->info.applies.kind_key, "lr.warmup.kind");
}

TEST(OptimOptions, APolicyMayStandUnderAnyPrefix) {
  PolicyOptions momentum;
  OptionTable table;
  declare_policy(table, "optimizer.momentum_schedule", momentum);
  EXPECT_EQ(table.find("optimizer.momentum_schedule.kind")->set({.scalar = "step"}), std::nullopt);
  EXPECT_EQ(momentum.kind, PolicyKind::kStep);
  for (const Option& option : table.options()) {
    EXPECT_THAT(option.key, testing::StartsWith("optimizer.momentum_schedule."));
    if (option.key == "optimizer.momentum_schedule.kind") continue;
    EXPECT_EQ(option.info.applies.kind_key, "optimizer.momentum_schedule.kind") << option.key;
  }
  std::vector<OptionProblem> problems;
  check_policy("optimizer.momentum_schedule", momentum, problems);
  EXPECT_THAT(problems, ElementsAre(problem("optimizer.momentum_schedule.length", "step")));
  EXPECT_EQ(policies_with_base("a.b").kind_key, "a.b.kind");
}

TEST(OptimOptions, RefusesValuesOutOfRange) {
  LrOptions lr;
  EXPECT_NE(set(lr, "lr.base", "0"), std::nullopt);
  EXPECT_NE(set(lr, "lr.base_batch", "0"), std::nullopt);
  EXPECT_NE(set(lr, "lr.policy.gamma", "0"), std::nullopt);
  EXPECT_NE(set(lr, "lr.policy.power", "0"), std::nullopt);
  EXPECT_NE(set(lr, "lr.policy.end", "-1"), std::nullopt);
  EXPECT_NE(set(lr, "lr.policy.length", "0steps"), std::nullopt);
  EXPECT_EQ(set(lr, "lr.policy.end", "0"), std::nullopt);

  OptimizerOptions sgd;
  OptionTable table;
  declare_options(table, sgd);
  const auto refused = [&](const char* key, const char* text) {
    return table.find(key)->set({.is_list = false, .scalar = text, .items = {}}).has_value();
  };
  EXPECT_TRUE(refused("optimizer.kind", "adamm"));
  EXPECT_FALSE(refused("optimizer.kind", "adam"));
  EXPECT_TRUE(refused("optimizer.momentum", "1"));
  EXPECT_TRUE(refused("optimizer.momentum", "-0.1"));
  EXPECT_TRUE(refused("optimizer.weight_decay", "-1e-4"));
  EXPECT_FALSE(refused("optimizer.momentum", "0"));
}

TEST(OptimizerCheck, NesterovNeedsMomentum) {
  OptimizerOptions options{.momentum = 0, .nesterov = true};
  EXPECT_THAT(check(options), ElementsAre(problem("optimizer.nesterov", "momentum > 0")));
  options.momentum = 0.9;
  EXPECT_THAT(check(options), IsEmpty());
}

TEST(OptimizerCheck, AbsorbedMomentumStandsAloneInWhatItAllows) {
  OptimizerOptions options{.momentum_correction = true};
  EXPECT_THAT(check(options),
              ElementsAre(problem("optimizer.momentum_correction", "momentum_form: absorbed")));
  options.momentum_form = MomentumForm::kAbsorbed;
  EXPECT_THAT(check(options), IsEmpty());
  options.dampening = 0.5;
  EXPECT_THAT(check(options), ElementsAre(problem("optimizer.dampening", "outside only")));
}

TEST(OptimizerCheck, BetasAreTwo) {
  OptimizerOptions options{.kind = "adam"};
  EXPECT_THAT(check(options), IsEmpty());
  options.betas = {0.9};
  EXPECT_THAT(check(options), ElementsAre(problem("optimizer.betas", "1 numbers; legal: two")));
}

TEST(OptimizerDefaults, AreEachKindsOwn) {
  const auto of = [](const std::string& kind) { return with_defaults({.kind = kind}); };
  EXPECT_EQ(of("sgd").momentum, 0.9);
  EXPECT_EQ(of("sgd").epsilon, std::nullopt);
  EXPECT_EQ(of("rmsprop").momentum, 0.0);
  EXPECT_EQ(of("adam").momentum, std::nullopt);
  EXPECT_EQ(of("adam").weight_decay, 0.0);
  EXPECT_EQ(of("adamw").weight_decay, 0.01);
  EXPECT_THAT(of("adamw").betas, ElementsAre(0.9, 0.999));
  EXPECT_THAT(of("lion").betas, ElementsAre(0.9, 0.99));
  EXPECT_EQ(of("adagrad").epsilon, 1e-10);
  EXPECT_EQ(of("lars").epsilon, 1e-8);
  EXPECT_EQ(with_defaults({.kind = "lars", .momentum_form = MomentumForm::kAbsorbed}).epsilon, 0);
  EXPECT_EQ(with_defaults({.kind = "adamw", .weight_decay = 0.3}).weight_decay, 0.3);
}

TEST(OptimizerDefaults, ScalingIsKnownForSgdAndLarsOnly) {
  EXPECT_EQ(default_scaling({.kind = "sgd"}), ScalingRule::kLinear);
  EXPECT_EQ(default_scaling({.kind = "lars"}), ScalingRule::kNone);
  EXPECT_EQ(default_scaling({.kind = "adamw"}), std::nullopt);
}

TEST(LrCheck, ScalingNeedsABaseBatch) {
  LrOptions options = goyal();
  EXPECT_THAT(check(options), IsEmpty());
  options.base_batch.reset();
  EXPECT_THAT(check(options),
              ElementsAre(problem("lr.base_batch",
                                  "needed by scaling linear: 0.1 is Goyal's at 256, He's for "
                                  "CIFAR at 128")));
  options.scaling = ScalingRule::kSqrt;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.base_batch", "scaling sqrt")));
  options.scaling = ScalingRule::kNone;
  EXPECT_THAT(check(options), IsEmpty());
}

TEST(LrCheck, ABaseIsNeededByAllButTheCycles) {
  LrOptions options = goyal();
  options.base.reset();
  EXPECT_THAT(check(options), ElementsAre(problem("lr", "base is missing")));
  options.policy.kind = PolicyKind::kTriangular;
  options.policy.length = Duration{1, Duration::Unit::kEpochs};
  EXPECT_THAT(check(options), IsEmpty());
}

TEST(LrCheck, WarmupNeedsALengthAndSomewhereToStart) {
  LrOptions options = goyal();
  options.warmup.kind = WarmupKind::kGradual;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.warmup.length", "needed")));
  options.warmup.length = Duration{5, Duration::Unit::kEpochs};
  EXPECT_THAT(check(options), IsEmpty());
  options.scaling = ScalingRule::kNone;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.warmup.start", "start: zero")));
  options.warmup.start.kind = WarmupStart::Kind::kZero;
  EXPECT_THAT(check(options), IsEmpty());
  options.warmup.kind = WarmupKind::kSigmoid;
  EXPECT_THAT(check(options), IsEmpty());
}

TEST(LrCheck, AnExponentialWarmupCannotStartAtZero) {
  LrOptions options = goyal();
  options.warmup = {.kind = WarmupKind::kExponential,
                    .length = Duration{5, Duration::Unit::kEpochs},
                    .start = {WarmupStart::Kind::kZero, 0}};
  EXPECT_THAT(check(options), ElementsAre(problem("lr.warmup.start", "legal: base or a number")));
  options.warmup.start.kind = WarmupStart::Kind::kNumber;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.warmup.start", "from zero")));
  options.warmup.start.number = 0.01;
  EXPECT_THAT(check(options), IsEmpty());
  options.warmup.start = {WarmupStart::Kind::kBase, 0};
  EXPECT_THAT(check(options), IsEmpty());
}

TEST(OptimOptions, PoliciesHaveReadableNamesAndLrBenchs) {
  LrOptions lr;
  OptionTable table;
  declare_options(table, lr);
  EXPECT_EQ(set(lr, "lr.policy.kind", "COSRSW2"), std::nullopt);
  EXPECT_EQ(table.find("lr.policy.kind")->text(), "cosine_sawtooth_halving");
  EXPECT_EQ(wave_of(lr.policy.kind), Wave::kCosineSawtooth);
  EXPECT_EQ(envelope_of(lr.policy.kind), Envelope::kHalving);
  EXPECT_EQ(set(lr, "lr.policy.kind", "sine_down_exponential"), std::nullopt);
  EXPECT_EQ(lr.policy.kind, cycle_kind(Wave::kSineDown, Envelope::kExponential));
  EXPECT_THAT(*set(lr, "lr.policy.kind", "triangluar"), HasSubstr("did you mean \"triangular\"?"));
  EXPECT_THAT(*set(lr, "lr.policy.kind", "TRIXP"), HasSubstr("did you mean \"TRIEXP\"?"));
}

TEST(LrCheck, PoliciesRefuseParametersThatDoNotFit) {
  LrOptions options = goyal();
  options.policy.length = Duration{1, Duration::Unit::kEpochs};
  options.policy.kind = PolicyKind::kSigmoid;
  options.policy.gamma = -0.1;
  EXPECT_THAT(check(options), IsEmpty());
  options.policy.kind = PolicyKind::kInverse;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.gamma", "is negative")));
  options.policy.gamma = 2;
  EXPECT_THAT(check(options), IsEmpty());
  options.policy.kind = cycle_kind(Wave::kSine, Envelope::kExponential);
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.gamma", "without end")));
  options.policy.gamma = 0.9;
  options.policy.k0 = 2;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.k1", "is below k0")));
  options.policy.k0 = 0;
  options.policy.length.reset();
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.length", "half of a period")));
  options.policy.kind = PolicyKind::kOneCycleTorch;
  options.policy.three_phase = true;
  EXPECT_THAT(check(options), IsEmpty());
  options.policy.pct_start = 0.6;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.pct_start", "three_phase")));
  options.policy.kind = PolicyKind::kWarmupStableDecay;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.decay", "unless stable")));
  options.policy.kind = PolicyKind::kInverseSqrt;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.timescale", "without a warm-up")));
}

TEST(LrCheck, TheLowestLearningRateIsNotAboveTheBase) {
  LrOptions options;
  options.base = 0.1;
  options.base_batch = 128;
  options.policy.kind = PolicyKind::kPlateauReduce;
  options.policy.plateau.min_lr = 0.1;
  EXPECT_TRUE(check(options).empty());
  options.policy.plateau.min_lr = 0.2;
  ASSERT_EQ(check(options).size(), 1u);
  EXPECT_EQ(check(options)[0].key, "lr.policy.min_lr");
}

TEST(LrCheck, PoliciesNeedTheirTimes) {
  LrOptions options = goyal();
  options.policy.kind = PolicyKind::kStep;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.length", "step")));
  options.policy.kind = PolicyKind::kMultistep;
  EXPECT_THAT(check(options), ElementsAre(problem("lr.policy.milestones", "multistep")));
  options.policy.milestones = {{60, Duration::Unit::kEpochs}, {60, Duration::Unit::kEpochs}};
  EXPECT_THAT(check(options),
              ElementsAre(problem("lr.policy.milestones", "60ep does not come after 60ep")));
  options.policy.milestones = {{30, Duration::Unit::kEpochs}, {60, Duration::Unit::kEpochs}};
  EXPECT_THAT(check(options), IsEmpty());
  options.policy.kind = PolicyKind::kCosine;
  EXPECT_THAT(check(options), IsEmpty());
}

}  // namespace
}  // namespace largo::optim
