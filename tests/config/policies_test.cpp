// Policies made of policies, from the text of a run file to their values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/config/config_text.h"
#include "trainer/config/config_print.h"
#include "trainer/config/load.h"
#include "trainer/optim/make_controller.h"
#include "trainer/optim/scaling.h"

namespace largo::config {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string run_file(const std::string& lr) {
  return "data: {kind: synthetic}\nmodel: {name: mlp}\nbatch: {global: 64}\ntrain: {length: "
         "1ep}\n" +
         lr;
}

optim::LrSchedule schedule_of(const std::string& lr, int64_t total_steps = 1000) {
  const LoadedConfig config = load_config({"run.yaml", run_file(lr)}, {});
  return optim::make_schedule(
      config.values.lr,
      {.global_batch = 64, .total_steps = total_steps, .steps_of = [](const Duration& d) {
         return d.unit == Duration::Unit::kEpochs ? d.amount * 10 : d.amount;
       }});
}

// Two pieces and three pieces of tests/golden/lr_policies.csv, by the first boundary.
const std::map<std::string, std::string> kGolden = {{"100", R"(
lr:
  base_batch: 64
  policy:
    kind: piecewise
    pieces:
      - {until: 100steps, policy: {kind: TRIEXP, k0: 0.05, k1: 0.3, gamma: 0.99, gamma_per: 1steps, length: 20steps}}
      - {base: 0.05, policy: {kind: EXP, gamma: 0.98, length: 1steps}}
)"},
                                                    {"11,20", R"(
lr:
  base: 0.1
  base_batch: 64
  policy:
    kind: piecewise
    pieces:
      - {until: 11steps, policy: {kind: SINEXP, k0: 1.0, k1: 3.0, gamma: 0.94, gamma_per: 1steps, length: 5steps}}
      - {until: 2ep, base: 0.5, policy: {kind: POLY, end: 0.1, power: 1.2}}  # its own length: 9 steps
      - {policy: {kind: NSTEP, gamma: 0.5, milestones: [4steps, 8steps]}}
)"}};

TEST(Piecewise, GivesTheGoldenValuesFromARunFile) {
  std::ifstream golden(LARGO_SOURCE_DIR "/tests/golden/lr_policies.csv");
  int checked = 0;
  for (std::string line; std::getline(golden, line);) {
    if (!line.starts_with("PIECEWISE,")) continue;
    const size_t open = line.find('[') + 1;
    const optim::LrSchedule schedule =
        schedule_of(kGolden.at(line.substr(open, line.find(']') - open)));
    const size_t numbers = line.rfind("\",") + 2;
    const double t = std::stod(line.substr(numbers));
    const double lr = std::stod(line.substr(line.find(',', numbers) + 1));
    EXPECT_NEAR(schedule.lr(t), lr, 1e-14 + 1e-12 * std::abs(lr)) << line;
    ++checked;
  }
  EXPECT_EQ(checked, 29);
}

TEST(Piecewise, EveryPieceHasItsOwnTimeLengthAndBase) {
  const optim::LrSchedule schedule = schedule_of(R"(
lr:
  base: 0.1
  base_batch: 32
  policy:
    kind: piecewise
    pieces:
      - {until: 100steps, policy: {kind: cosine}}
      - {until: 200steps, base: 0.2, policy: {kind: polynomial, end: 0.1}}
      - until: 300steps
        policy:
          kind: piecewise
          pieces:
            - {until: 40steps, policy: {kind: constant}}
            - {policy: {kind: polynomial}}
      - {policy: {kind: polynomial, end: 0.05}}
)");
  EXPECT_EQ(schedule.factor(), 2);
  EXPECT_EQ(schedule.peak(), 0.4);
  EXPECT_EQ(schedule.lr(0), 0.2);
  EXPECT_NEAR(schedule.lr(99.999999), 0, 1e-12);  // the end comes with the next piece
  EXPECT_EQ(schedule.lr(100), 0.4);
  EXPECT_DOUBLE_EQ(schedule.lr(150), 0.3);
  EXPECT_EQ(schedule.lr(239), 0.2);
  EXPECT_DOUBLE_EQ(schedule.lr(270), 0.1);  // half of the inner list's last piece
  EXPECT_EQ(schedule.lr(300), 0.2);
  EXPECT_EQ(schedule.lr(999), 0.1);  // the end of the last comes with the last update
  EXPECT_GT(schedule.lr(998), 0.1);
  EXPECT_THAT(
      schedule.describe(),
      HasSubstr("peak LR 0.4 = 0.2 × 2 (linear, batch 64 / 32); no warm-up; piecewise: "
                "cosine to 0 in 100 steps until step 100, then polynomial of power 1 to "
                "0.2 in 100 steps until step 200, then (piecewise: constant until step 240, "
                "then polynomial of power 1 to 0 in 60 steps) until step 300, then"));
}

TEST(Piecewise, StartsAfterTheWarmupWhichLeadsToIt) {
  const std::string lr = R"(
lr:
  base: 0.1
  base_batch: 64
  warmup: {kind: gradual, length: 20steps, start: zero}
  policy:
    kind: piecewise
    pieces:
      - {until: 100steps, policy: {kind: triangular, k0: 0.2, k1: 1, length: 50steps}}
      - {policy: {kind: constant}}
)";
  const optim::LrSchedule schedule = schedule_of(lr);
  EXPECT_EQ(schedule.lr(0), 0);
  EXPECT_DOUBLE_EQ(schedule.lr(10), 0.1);
  EXPECT_EQ(schedule.lr(20), 0.2);
  EXPECT_EQ(schedule.lr(70), 1);
  EXPECT_EQ(schedule.lr(120), 0.1);
  const optim::LrSchedule global = schedule_of(lr + "  policy_clock: global\n");
  EXPECT_DOUBLE_EQ(global.lr(20), 0.2 + 0.8 * 20 / 50);  // inside of the first piece
  EXPECT_DOUBLE_EQ(global.lr(10), global.lr(20) / 2);
  EXPECT_EQ(global.lr(100), 0.1);
}

TEST(Piecewise, PrintsWhatItReadsBack) {
  const LoadedConfig config = load_config({"run.yaml", run_file(kGolden.at("11,20"))}, {});
  const std::string printed = print_config(config);
  const LoadedConfig again = load_config({"again.yaml", printed}, {});
  EXPECT_EQ(config_hash(again.values), config_hash(config.values));
  const LoadedConfig other =
      load_config({"run.yaml", printed}, {"lr.policy.pieces.1.policy.power=1.3"});
  EXPECT_EQ(other.values.lr.policy.pieces[1].policy.power, 1.3);
  EXPECT_NE(config_hash(other.values), config_hash(config.values));
}

TEST(Piecewise, ABaseIsNeededWhereAPieceStartsFromIt) {
  const auto lr = [](const std::string& keys) {
    return run_file("lr: {base_batch: 64, " + keys + "}\n");
  };
  const std::string wave = "{kind: triangular, k0: 0.1, k1: 1, length: 1ep}";
  const std::string both = "policy: {kind: piecewise, pieces: [{until: 5ep, policy: " + wave +
                           "}, {policy: {kind: cosine}}]}";
  EXPECT_THAT(errors_of(lr(both)), HasSubstr("lr: base is missing"));
  EXPECT_EQ(errors_of(lr("base: 0.1, " + both)), "");
  const std::string own = "policy: {kind: piecewise, pieces: [{until: 5ep, policy: " + wave +
                          "}, {base: 0.1, policy: {kind: cosine}}]}";
  EXPECT_EQ(errors_of(lr(own)), "");
  EXPECT_THAT(errors_of(lr("base: 0.1, " + own)), HasSubstr("nothing in lr.policy starts from"));
}

TEST(Piecewise, RefusesPiecesThatDoNotFollowOneAnother) {
  const auto with = [](const std::string& pieces) {
    return run_file("lr: {base: 0.1, base_batch: 64, policy: {kind: piecewise, pieces: [" + pieces +
                    "]}}\n");
  };
  EXPECT_THAT(errors_of(with("{policy: {kind: constant}}, {policy: {kind: cosine}}")),
              HasSubstr("lr.policy.pieces.0.until: needed by every piece but the last"));
  EXPECT_THAT(errors_of(with("{until: 1ep, policy: {kind: constant}}")),
              HasSubstr("lr.policy.pieces.0.until: belongs to every piece but the last"));
  EXPECT_THAT(errors_of(with("{until: 2ep}, {until: 2ep}, {policy: {kind: cosine}}")),
              HasSubstr("lr.policy.pieces.1.until: 2ep does not come after 2ep"));
  EXPECT_THAT(errors_of(with("{until: 2ep, policy: {kind: step}}, {}")),
              HasSubstr("lr.policy.pieces.0.policy.length: needed by policy step"));
  EXPECT_THAT(errors_of(run_file("lr: {base: 0.1, base_batch: 64, policy: {kind: piecewise}}\n")),
              HasSubstr("needed by policy piecewise: a list of {until, policy}"));
  EXPECT_THROW(schedule_of(R"(
lr: {base: 0.1, base_batch: 64, policy: {kind: piecewise, pieces: [{until: 1ep}, {until: 10steps}, {}]}}
)"),
               OptionError);  // 1ep is 10 steps
  EXPECT_THROW(schedule_of(R"(
lr:
  base: 0.1
  base_batch: 64
  policy: {kind: piecewise, pieces: [{until: 500steps, policy: {kind: step, gamma: 10, length: 1steps}}, {}]}
)"),
               OptionError);  // infinite before it ends
}

TEST(Piecewise, AnEmptyListIsOneProblem) {
  const auto problems = [](const std::string& policy) {
    const std::string text =
        errors_of(run_file("lr: {base: 0.1, base_batch: 64, policy: " + policy + "}\n"));
    EXPECT_THAT(text, HasSubstr("needed by policy piecewise")) << policy;
    EXPECT_THAT(text, Not(HasSubstr("starts from it"))) << policy;
  };
  problems("{kind: piecewise, pieces: []}");
  problems("{kind: piecewise, pieces: [{base: 0.1, policy: {kind: piecewise, pieces: []}}]}");
}

// PyTorch's ChainedScheduler of ConstantLR (0.5 for 2 epochs) and ExponentialLR (0.9).
TEST(Product, ChainsPolicies) {
  const std::string lr = R"(
lr:
  base: 1.0
  base_batch: 32
  policy:
    kind: product
    factors:
      - kind: piecewise
        pieces: [{until: 2ep, base: 0.5, policy: {kind: constant}}, {policy: {kind: constant}}]
      - {kind: exponential, gamma: 0.9, length: 1ep}
)";
  const optim::LrSchedule schedule = schedule_of(lr);  // 10 steps an epoch
  const std::vector<double> published = {0.5, 0.45, 0.81, 0.729};
  for (size_t epoch = 0; epoch < published.size(); ++epoch) {
    EXPECT_DOUBLE_EQ(schedule.lr(10. * static_cast<double>(epoch)), 2 * published[epoch]) << epoch;
  }
  EXPECT_EQ(schedule.factor(), 2);
  EXPECT_EQ(schedule.peak(), 2);
  EXPECT_THAT(schedule.describe(),
              HasSubstr("product of (piecewise: constant until step 20, then constant) and "
                        "(exponential × 0.9 in 10 steps)"));
  // Resolved, hashed and read back.
  const LoadedConfig config = load_config({"run.yaml", run_file(lr)}, {});
  const std::string printed = print_config(config);
  EXPECT_EQ(config_hash(load_config({"again.yaml", printed}, {}).values),
            config_hash(config.values));
  EXPECT_THAT(printed, Not(HasSubstr("× 2 = 1 at batch")));  // 0.5 is a part, not a learning rate
  EXPECT_NE(
      config_hash(load_config({"run.yaml", printed}, {"lr.policy.factors.1.gamma=0.8"}).values),
      config_hash(config.values));
}

TEST(Product, LevelsOfItsFactorsArePartsOfTheBase) {
  const optim::LrSchedule schedule = schedule_of(R"(
lr:
  base: 0.1
  base_batch: 32
  warmup: {kind: gradual, length: 10steps, start: zero}
  policy:
    kind: product
    factors:
      - {kind: TRI, k0: 0.5, k1: 2, length: 50steps}
      - {kind: linear, end: 0.1, length: 900steps}
)");
  EXPECT_EQ(schedule.peak(), 0.4);                          // 0.1 × 2 × 2
  EXPECT_DOUBLE_EQ(schedule.lr(5), 0.05);                   // to where the product begins:
  EXPECT_DOUBLE_EQ(schedule.lr(10), 0.2 * 0.5);             // half of the base
  EXPECT_DOUBLE_EQ(schedule.lr(60), 0.2 * 2 * (1 - 0.05));  // 50 of 900 steps of the way to 0.1
  EXPECT_DOUBLE_EQ(schedule.lr(910), 0.2 * 0.5 * 0.1);
}

TEST(Product, NamesWhatIsWrongInAFactor) {
  const auto with = [](const std::string& policy) {
    return errors_of(
        run_file("lr: {base: 0.1, base_batch: 64, policy: {kind: product" + policy + "}}\n"));
  };
  EXPECT_THAT(with(""), HasSubstr("lr.policy.factors: needed by policy product"));
  EXPECT_THAT(with(", factors: [{kind: step}]"),
              HasSubstr("lr.policy.factors.0.length: needed by policy step"));
  EXPECT_THAT(with(", factors: [{kind: constant}, {kind: plateau_reduce}]"),
              HasSubstr("lr.policy.factors.1.kind: \"plateau_reduce\" follows training"));
  EXPECT_THAT(with(", factors: [{kind: cosine, gama: 1}]"),
              HasSubstr("lr.policy.factors.0.gama: unknown key; legal here: kind, length, end"));
  EXPECT_THAT(with(", pieces: [{}], factors: [{kind: cosine}]"),
              HasSubstr("lr.policy.pieces: belongs to lr.policy.kind piecewise"));
  EXPECT_EQ(with(", factors: [{kind: cosine}]"), "");
}

TEST(Policies, OnlyTheWholeLearningRateFollowsTraining) {
  EXPECT_THAT(
      errors_of(run_file("optimizer: {momentum_schedule: {kind: plateau_reduce}}\n"
                         "lr: {base: 0.1, base_batch: 64, policy: {kind: plateau_change, first: 0, "
                         "levels: [{policy: {kind: plateau_change}}, {}]}}\n")),
      testing::AllOf(
          HasSubstr("lr.policy.levels.0.policy.kind: \"plateau_change\" follows training, "
                    "which only lr.policy itself can; legal: constant | step"),
          HasSubstr("optimizer.momentum_schedule.kind: \"plateau_reduce\" follows")));
}

TEST(Policies, HintsAreOfTheKind) {
  const auto hint = [](const std::string& policy) {
    return errors_of(run_file("lr: {base: 0.1, base_batch: 64, policy: " + policy + "}\n"));
  };
  const std::string gamma = "did you mean gamma?";
  EXPECT_THAT(hint("{kind: step, length: 1ep, gama: 0.5}"), HasSubstr(gamma));
  EXPECT_THAT(hint("{gama: 0.5, length: 1ep, kind: TRIEXP}"), HasSubstr(gamma));
  const std::string triangular = hint("{kind: TRI, length: 1ep, k0: 0, k1: 1, gama: 0.5}");
  EXPECT_THAT(triangular, HasSubstr("gama: unknown key; legal here: kind, length, k0, k1"));
  EXPECT_THAT(triangular, Not(HasSubstr("gamma")));
  EXPECT_THAT(hint("{kind: piecewise, pieces: [{policy: {kind: TRI, gama: 1}}]}"),
              HasSubstr("gama: unknown key; legal here: kind, length, k0, k1"));
}

TEST(Policies, AWrongPieceDoesNotHideWhatIsWrongInOthers) {
  const std::string text = errors_of(
      run_file("lr: {base: 0.1, base_batch: 64, policy: {kind: piecewise, pieces: [{until: 9steps, "
               "policy: {kind: stepp}}, {until: 20steps, policy: {kind: step}}, {policy: {kind: "
               "multistep}}]}}\n"));
  EXPECT_THAT(text, HasSubstr("lr.policy.pieces.0.policy.kind: \"stepp\" is not known"));
  EXPECT_THAT(text, HasSubstr("lr.policy.pieces.1.policy.length: needed by policy step"));
  EXPECT_THAT(text, HasSubstr("lr.policy.pieces.2.policy.milestones: needed by policy multistep"));
  // What may follow from the word is not said.
  EXPECT_THAT(errors_of(run_file(
                  "lr: {base: 0.1, base_batch: 64, policy: {kind: piecewise, pieces: [{until: "
                  "9steps, base: 1, policy: {kind: sinee}}, {policy: {kind: constant}}]}}\n")),
              Not(HasSubstr("starts from it")));
}

TEST(Effective, ValuesOfABatchPerRankAreKnownForItsRanks) {
  const LoadedConfig config =
      load_config({"run.yaml",
                   "data: {kind: synthetic}\nmodel: {name: mlp}\nbatch: {per_rank: 64}\ntrain: "
                   "{length: 1ep}\nlr: {base: 0.1, base_batch: 128}\n"},
                  {});
  EXPECT_THAT(print_config(config, 16), HasSubstr("run.yaml:5; × 8 = 0.8 at batch 1024"));
  EXPECT_THAT(print_config(config), Not(HasSubstr("at batch")));
}

TEST(Effective, ValuesOfTheBatchStandBesideTheFilesOwn) {
  const auto printed = [](const std::string& text) {
    const LoadedConfig config = load_config({"run.yaml", text}, {});
    std::string lines = print_config(config);
    EXPECT_EQ(config_hash(load_config({"again.yaml", lines}, {}).values),
              config_hash(config.values));
    return lines;
  };
  const std::string head =
      "data: {kind: synthetic}\nmodel: {name: mlp}\nbatch: {global: 1024}\ntrain: {length: 1ep}\n";
  const std::string linear = printed(
      head +
      "lr: {base: 0.1, base_batch: 128, warmup: {kind: gradual, length: 1ep, start: 0.05}, policy: "
      "{kind: piecewise, pieces: [{until: 1ep, base: 0.2}, {policy: {kind: cosine, end: "
      "0.01}}]}}\n");
  EXPECT_THAT(linear, HasSubstr("run.yaml:5; × 8 = 0.8 at batch 1024"));
  EXPECT_THAT(linear, HasSubstr("× 8 = 0.4 at batch 1024"));   // the start
  EXPECT_THAT(linear, HasSubstr("× 8 = 1.6 at batch 1024"));   // a piece's base
  EXPECT_THAT(linear, HasSubstr("× 8 = 0.08 at batch 1024"));  // another's end
  const std::string legw = printed(
      head +
      "lr: {base: 0.1, base_batch: 256, scaling: legw, warmup: {kind: gradual, length: 0.5ep, "
      "start: zero}}\n");
  EXPECT_THAT(legw, HasSubstr("× 2 = 0.2 at batch 1024"));
  EXPECT_THAT(legw, HasSubstr("= 2ep at batch 1024"));
  const std::string adam = printed(head +
                                   "optimizer: {kind: adamw}\n"
                                   "lr: {base: 0.001, base_batch: 256, scaling: adam_sqrt}\n");
  EXPECT_THAT(adam, HasSubstr("= [0.6, 0.996] at batch 1024"));
  EXPECT_THAT(adam, HasSubstr("= 5e-09 at batch 1024"));
  EXPECT_THAT(printed(head + "lr: {base: 0.1, base_batch: 128, scaling: adascale}\n"),
              HasSubstr("× a gain of 1 to 8 at batch 1024"));
  EXPECT_THAT(printed(head + "lr: {base: 0.1, scaling: none}\n"),
              testing::Not(HasSubstr("at batch")));
}

TEST(Policies, ShippedRunFilesHaveSchedules) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(LARGO_SOURCE_DIR "/configs/policies")) {
    std::ostringstream bytes;
    bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    const LoadedConfig config = load_config({entry.path().filename().string(), bytes.str()}, {});
    const int64_t batch = config.values.batch.global.value();
    EXPECT_TRUE(optim::check_scaling(config.values.lr, config.values.optimizer, batch).empty());
    const optim::ScheduleInputs inputs = {
        .global_batch = batch, .total_steps = 1000, .steps_of = [](const Duration& d) {
          return d.unit == Duration::Unit::kEpochs ? d.amount * 40 : d.amount;
        }};
    const optim::LrSchedule schedule = optim::make_schedule(config.values.lr, inputs);
    EXPECT_GT(schedule.lr(500), 0) << entry.path();
    EXPECT_NE(optim::make_controller(config.values.lr, schedule, inputs), nullptr);
    ++files;
  }
  EXPECT_EQ(files, 7);
}

}  // namespace
}  // namespace largo::config
