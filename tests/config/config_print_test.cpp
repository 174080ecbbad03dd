#include "trainer/config/config_print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

#include "tests/config/config_text.h"

namespace largo::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// All keys and values, applying or not.
std::string all_values(const RunConfig& config) {
  RunConfig copy = config;
  std::string text;
  const OptionTable table = make_table(copy);
  for (const Option& option : table.options()) {
    text += concat(option.key, "=", option.text().value_or(""), "\n");
  }
  return text;
}

TEST(PrintConfig, SaysWhereValuesComeFrom) {
  const LoadedConfig config =
      load_config({"runs/a.yaml", kSmallest + "run: {name: a}\n"}, {"run.seed=3"});
  const std::string text = print_config(config);
  EXPECT_THAT(text, StartsWith("run:\n"
                               "  name: a"));
  EXPECT_TRUE(std::regex_search(text, std::regex("\n  name: a +# runs/a.yaml:6\n"))) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("\n  seed: 3 +# override\n"))) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("\n  device: auto +# default\n"))) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("\n  augment:\n    pad_crop: 0 +# default\n")))
      << text;
  EXPECT_THAT(text, Not(HasSubstr("groups")));      // another kind's
  EXPECT_THAT(text, Not(HasSubstr("milestones")));  // another kind's
  EXPECT_THAT(text, Not(HasSubstr("limit")));       // not given
  EXPECT_THAT(text, Not(HasSubstr("path")));        // empty by default
}

TEST(PrintConfig, AlignsComments) {
  const std::string text = print_config(load_config({"a.yaml", kSmallest}, {}));
  size_t column = 0;
  for (size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1) {
    const std::string line = text.substr(begin, text.find('\n', begin) - begin);
    const size_t comment = line.find('#');
    if (comment == std::string::npos) continue;
    if (column == 0) column = comment;
    EXPECT_EQ(comment, column) << line;
  }
  EXPECT_GT(column, 0u);
}

class RoundTrip : public ::testing::TestWithParam<std::vector<std::string>> {};

TEST_P(RoundTrip, PrintedReadsBackToTheSame) {
  const LoadedConfig config = load_config({"a.yaml", kSmallest}, GetParam());
  const std::string printed = print_config(config);
  const LoadedConfig again = load_config({"config.yaml", printed}, {});
  EXPECT_EQ(all_values(again.values), all_values(config.values)) << printed;
  EXPECT_EQ(config_hash(again.values), config_hash(config.values));
  EXPECT_THAT(trajectory_differences(config.values, again.values), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Configs, RoundTrip,
    ::testing::Values(
        std::vector<std::string>{},
        std::vector<std::string>{"run.threads=2", "run.output=\"a b/'c' \\\"d\\\"\\\\ #x: é\"",
                                 "batch.max_micro=8", "eval.batch=7"},
        std::vector<std::string>{"run.output=\"null\"", "run.name=null_", "data.limit=5"},
        std::vector<std::string>{"run.output=\"~\"", "run.name=\"010\""},
        std::vector<std::string>{"model.norm={kind: group, groups: 4, epsilon: 3.0e-7}",
                                 "data.shape=[1, 28, 28]", "data.mean=[0.1]", "data.std=[0.3]"},
        std::vector<std::string>{
            "lr.policy={kind: multistep, milestones: [30ep, 60ep], gamma: 0.2}",
            "lr.warmup={kind: gradual, length: 5ep, start: 0.025}"},
        std::vector<std::string>{
            "lr.policy={kind: polynomial, length: 0.25ep, power: 2, end: 1e-9}", "lr.scaling=sqrt",
            "lr.warmup={kind: constant, length: 3steps}"},
        std::vector<std::string>{"train.precision=float64", "train.length=1000000samples",
                                 "comm.overlap=on", "optimizer.weight_decay=0.1"},
        std::vector<std::string>{"optimizer={kind: adamw, betas: [0.9, 0.95]}", "lr.scaling=none"},
        std::vector<std::string>{"optimizer={kind: lars, momentum_form: absorbed}"},
        std::vector<std::string>{"optimizer.groups=[{match: '*.bias', lr_factor: 2}, {match: fc.*, "
                                 "weight_decay: 0}]",
                                 "optimizer.groups.1.lr_factor=0.5"},
        std::vector<std::string>{
            "optimizer.momentum_schedule={kind: one_cycle_torch, middle: 0.85}",
            "optimizer.weight_decay_schedule={kind: sine, k0: 0, k1: 0.1, length: 3ep}"}));

TEST(ConfigHash, IsOfTheTrajectoryOnly) {
  const auto hash = [](const std::vector<std::string>& overrides) {
    return config_hash(load_config({"a.yaml", kSmallest}, overrides).values);
  };
  const std::string plain = hash({});
  EXPECT_EQ(plain.size(), 16u);
  EXPECT_EQ(hash({"run.name=other"}), plain);
  EXPECT_EQ(hash({"train.log_every=1steps", "comm.bucket_bytes=4096"}), plain);
  EXPECT_NE(hash({"run.seed=2"}), plain);
  EXPECT_NE(hash({"data.limit=2"}), plain);
  EXPECT_NE(hash({"model.norm.kind=group"}), plain);
  const std::string grouped = hash({"optimizer.groups=[{match: a}]"});
  EXPECT_NE(grouped, plain);
  EXPECT_NE(hash({"optimizer.groups=[{match: b}]"}), grouped);
  EXPECT_NE(hash({"optimizer.groups=[{match: a}, {match: b}]"}), grouped);
  EXPECT_EQ(hash({"optimizer.groups=[]"}), plain);
}

TEST(TrajectoryDifferences, NamesKeysAndBothValues) {
  const auto load = [](const std::vector<std::string>& overrides) {
    return load_config({"a.yaml", kSmallest}, overrides).values;
  };
  EXPECT_THAT(trajectory_differences(
                  load({"run.name=a"}),
                  load({"run.name=b", "optimizer.momentum=0.95", "data.limit=9", "eval.batch=3"})),
              ElementsAre("data.limit: not given -> 9", "optimizer.momentum: 0.9 -> 0.95"));
  const RunConfig one = load({"optimizer.groups=[{match: a, lr_factor: 2}]"});
  const RunConfig two = load({"optimizer.groups=[{match: a}, {match: b}]"});
  EXPECT_THAT(
      trajectory_differences(one, two),
      ElementsAre("optimizer.groups: 1 row -> 2 rows", "optimizer.groups.0.lr_factor: 2 -> 1",
                  "optimizer.groups.1.match: not given -> b",
                  "optimizer.groups.1.lr_factor: not given -> 1"));
  EXPECT_THAT(
      trajectory_differences(two, one),
      ElementsAre("optimizer.groups: 2 rows -> 1 row", "optimizer.groups.0.lr_factor: 1 -> 2",
                  "optimizer.groups.1.match: b -> not given",
                  "optimizer.groups.1.lr_factor: 1 -> not given"));
}

}  // namespace
}  // namespace largo::config
