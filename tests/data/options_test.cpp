#include "trainer/data/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace largo::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Table {
  Table() { declare_options(table, options); }

  // What is wrong with the value; "" if nothing.
  std::string set(const std::string& key, const std::string& text) {
    return table.find(key)->set({.is_list = false, .scalar = text, .items = {}}).value_or("");
  }
  std::string set_list(const std::string& key, const std::vector<std::string>& items) {
    return table.find(key)->set({.is_list = true, .scalar = "", .items = items}).value_or("");
  }

  DataOptions options;
  OptionTable table;
};

DataOptions of_kind(const std::string& kind) {
  DataOptions options;
  options.kind = kind;
  return options;
}

std::vector<std::string> wrong_keys(const DataOptions& options) {
  std::vector<std::string> keys;
  for (const OptionProblem& problem : check(options)) keys.push_back(problem.key);
  return keys;
}

TEST(DataOptions, EveryKeyFillsItsField) {
  Table t;
  EXPECT_EQ(t.set("data.kind", "idx"), "");
  EXPECT_EQ(t.set("data.path", "/data/mnist"), "");
  EXPECT_EQ(t.set("data.limit", "100"), "");
  EXPECT_EQ(t.set_list("data.mean", {"0.25"}), "");
  EXPECT_EQ(t.set_list("data.std", {"0.5"}), "");
  EXPECT_EQ(t.set_list("data.shape", {"1", "8", "9"}), "");
  EXPECT_EQ(t.set("data.classes", "4"), "");
  EXPECT_EQ(t.set("data.augment.pad_crop", "2"), "");
  EXPECT_EQ(t.set("data.augment.flip", "true"), "");
  EXPECT_EQ(t.set("data.workers", "3"), "");
  EXPECT_EQ(t.options.kind, "idx");
  EXPECT_EQ(t.options.path, "/data/mnist");
  EXPECT_EQ(t.options.limit, 100);
  EXPECT_THAT(t.options.mean, ElementsAre(0.25));
  EXPECT_THAT(t.options.std, ElementsAre(0.5));
  EXPECT_THAT(t.options.shape, ElementsAre(1, 8, 9));
  EXPECT_EQ(t.options.classes, 4);
  EXPECT_EQ(t.options.augment.pad_crop, 2);
  EXPECT_TRUE(t.options.augment.flip);
  EXPECT_EQ(t.options.workers, 3);
  EXPECT_EQ(t.table.options().size(), 10u) << "a key without a test";
}

TEST(DataOptions, RangesAreKept) {
  Table t;
  EXPECT_THAT(t.set("data.limit", "0"), HasSubstr(">= 1"));
  EXPECT_THAT(t.set_list("data.mean", {"0.5", "1.5"}), HasSubstr("between 0 and 1"));
  EXPECT_THAT(t.set_list("data.std", {"0"}), HasSubstr("> 0"));
  EXPECT_NE(t.set_list("data.shape", {"3", "0", "32"}), "");
  EXPECT_NE(t.set("data.classes", "1"), "");
  EXPECT_NE(t.set("data.augment.pad_crop", "-1"), "");
  EXPECT_THAT(t.set("data.workers", "65"), HasSubstr("between 0 and 64"));
  EXPECT_EQ(t.set("data.workers", "0"), "");
}

TEST(DataOptions, SaysWhatTheKeysAlter) {
  Table t;
  for (const Option& option : t.table.options()) {
    const bool speed = option.key == "data.workers";
    EXPECT_EQ(option.info.effect, speed ? Effect::kSpeed : Effect::kTrajectory) << option.key;
    EXPECT_EQ(option.info.is_path, option.key == "data.path") << option.key;
    const bool synthetic_only = option.key == "data.shape" || option.key == "data.classes";
    EXPECT_EQ(option.info.applies.kind_key, synthetic_only ? "data.kind" : "") << option.key;
  }
  EXPECT_TRUE(t.table.find("data.kind")->info.required);
}

TEST(DataOptions, PathBelongsToIdxAndNotToSynthetic) {
  DataOptions options = of_kind("idx");
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.path"));
  options.path = "x";
  EXPECT_THAT(wrong_keys(options), IsEmpty());
  options.kind = "synthetic";
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.path"));
  EXPECT_THAT(wrong_keys(of_kind("synthetic")), IsEmpty());
  EXPECT_THAT(wrong_keys(of_kind("somebody's own")), IsEmpty());
}

TEST(DataOptions, MeanAndStdComeTogether) {
  DataOptions options = of_kind("synthetic");
  options.mean = {0.1, 0.2};
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.mean"));
  options.std = {1};
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.std"));
  options.std = {1, 2};
  EXPECT_THAT(wrong_keys(options), IsEmpty());
  options.mean = {};
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.std"));
}

TEST(DataOptions, SyntheticShapesAreThreeNumbersOfSaneSize) {
  DataOptions options = of_kind("synthetic");
  options.shape = {3, 32};
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.shape"));
  options.shape = {4096, 4096, 4096};
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.shape"));
  options.shape = {3, 4096, 4096};
  EXPECT_THAT(wrong_keys(options), IsEmpty());
}

TEST(DataOptions, SyntheticSamplesAreLimited) {
  DataOptions options = of_kind("synthetic");
  options.limit = int64_t{1} << 31;
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.limit"));
  --*options.limit;
  EXPECT_THAT(wrong_keys(options), IsEmpty());
}

}  // namespace
}  // namespace largo::data
