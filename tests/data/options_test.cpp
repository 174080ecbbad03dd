#include "trainer/data/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
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
  EXPECT_EQ(t.set("data.val_path", "/data/val"), "");
  EXPECT_EQ(t.set("data.val_fraction", "0.1"), "");
  EXPECT_EQ(t.set("data.limit", "100"), "");
  EXPECT_EQ(t.set_list("data.mean", {"0.25"}), "");
  EXPECT_EQ(t.set_list("data.std", {"0.5"}), "");
  EXPECT_EQ(t.set_list("data.shape", {"1", "8", "9"}), "");
  EXPECT_EQ(t.set("data.classes", "4"), "");
  EXPECT_EQ(t.set("data.augment.pad_crop", "2"), "");
  EXPECT_EQ(t.set("data.augment.flip", "true"), "");
  EXPECT_EQ(t.set("data.augment.resized_crop", "224"), "");
  EXPECT_EQ(t.set("data.augment.cutout", "16"), "");
  EXPECT_EQ(t.set("data.mixup", "0.2"), "");
  EXPECT_EQ(t.set("data.image_size", "64"), "");
  EXPECT_EQ(t.set("data.shuffle.kind", "blocks"), "");
  EXPECT_EQ(t.set("data.shuffle.shards", "5"), "");
  EXPECT_EQ(t.set("data.shuffle.window", "77"), "");
  EXPECT_EQ(t.set("data.workers", "3"), "");
  EXPECT_EQ(t.set("data.stage", "/local"), "");
  EXPECT_EQ(t.set("data.on_bad_sample", "skip"), "");
  EXPECT_EQ(t.options.kind, "idx");
  EXPECT_EQ(t.options.path, "/data/mnist");
  EXPECT_EQ(t.options.val_path, "/data/val");
  EXPECT_EQ(t.options.val_fraction, 0.1);
  EXPECT_EQ(t.options.limit, 100);
  EXPECT_THAT(t.options.mean, ElementsAre(0.25));
  EXPECT_THAT(t.options.std, ElementsAre(0.5));
  EXPECT_THAT(t.options.shape, ElementsAre(1, 8, 9));
  EXPECT_EQ(t.options.classes, 4);
  EXPECT_EQ(t.options.augment.pad_crop, 2);
  EXPECT_TRUE(t.options.augment.flip);
  EXPECT_EQ(t.options.augment.resized_crop, 224);
  EXPECT_EQ(t.options.augment.cutout, 16);
  EXPECT_EQ(t.options.mixup, 0.2);
  EXPECT_EQ(t.options.image_size, 64);
  EXPECT_EQ(t.options.shuffle.kind, ShuffleKind::kBlocks);
  EXPECT_EQ(t.options.shuffle.shards, 5);
  EXPECT_EQ(t.options.shuffle.window, 77);
  EXPECT_EQ(t.options.workers, 3);
  EXPECT_EQ(t.options.stage, "/local");
  EXPECT_EQ(t.options.on_bad_sample, OnBadSample::kSkip);
  EXPECT_EQ(t.table.options().size(), 21u) << "a key without a test";
}

TEST(DataOptions, NothingIsDoneToSamplesUnlessAskedFor) {
  const DataOptions options;
  EXPECT_EQ(options.augment.pad_crop, 0);
  EXPECT_FALSE(options.augment.flip);
  EXPECT_EQ(options.augment.resized_crop, 0);
  EXPECT_EQ(options.augment.cutout, 0);
  EXPECT_EQ(options.mixup, 0);
  EXPECT_EQ(options.image_size, 0);
  EXPECT_EQ(options.val_fraction, 0);
  EXPECT_EQ(options.shuffle.kind, ShuffleKind::kFull);
  EXPECT_EQ(options.on_bad_sample, OnBadSample::kError);
}

TEST(DataOptions, RangesAreKept) {
  Table t;
  EXPECT_THAT(t.set("data.limit", "0"), HasSubstr(">= 1"));
  EXPECT_THAT(t.set_list("data.mean", {"0.5", "1.5"}), HasSubstr("between 0 and 1"));
  EXPECT_THAT(t.set_list("data.std", {"0"}), HasSubstr("> 0"));
  EXPECT_NE(t.set_list("data.shape", {"3", "0", "32"}), "");
  EXPECT_NE(t.set("data.classes", "1"), "");
  EXPECT_NE(t.set("data.augment.pad_crop", "-1"), "");
  EXPECT_NE(t.set("data.augment.resized_crop", "-1"), "");
  EXPECT_NE(t.set("data.augment.cutout", "-1"), "");
  EXPECT_THAT(t.set("data.mixup", "-0.1"), HasSubstr(">= 0"));
  EXPECT_NE(t.set("data.mixup", "inf"), "");
  EXPECT_NE(t.set("data.image_size", "4097"), "");
  EXPECT_THAT(t.set("data.val_fraction", "0.6"), HasSubstr("between 0 and 0.5"));
  EXPECT_THAT(t.set("data.shuffle.shards", "0"), HasSubstr(">= 1"));
  EXPECT_THAT(t.set("data.shuffle.window", "0"), HasSubstr(">= 1"));
  EXPECT_THAT(t.set("data.shuffle.kind", "window"), HasSubstr("full"));
  EXPECT_THAT(t.set("data.on_bad_sample", "ignore"), HasSubstr("skip"));
  EXPECT_THAT(t.set("data.workers", "257"), HasSubstr("between 0 and 256"));
  EXPECT_EQ(t.set("data.workers", "0"), "");
}

TEST(DataOptions, SaysWhatTheKeysAlter) {
  const std::set<std::string> speed = {"data.workers", "data.stage"};
  const std::set<std::string> paths = {"data.path", "data.val_path", "data.stage"};
  Table t;
  for (const Option& option : t.table.options()) {
    EXPECT_EQ(option.info.effect, speed.contains(option.key) ? Effect::kSpeed : Effect::kTrajectory)
        << option.key;
    EXPECT_EQ(option.info.is_path, paths.contains(option.key)) << option.key;
    EXPECT_EQ(option.info.required, option.key == "data.kind") << option.key;
  }
}

TEST(DataOptions, SomeKeysBelongToSomeKinds) {
  using Kinds = std::vector<std::string>;
  const std::map<std::string, std::pair<std::string, Kinds>> expected = {
      {"data.shape", {"data.kind", {"synthetic"}}},
      {"data.classes", {"data.kind", {"synthetic", "tar_shards"}}},
      {"data.val_path", {"data.kind", {"image_folder", "tar_shards"}}},
      {"data.shuffle.shards", {"data.shuffle.kind", {"blocks"}}},
      {"data.shuffle.window", {"data.shuffle.kind", {"blocks"}}}};
  Table t;
  for (const Option& option : t.table.options()) {
    const auto found = expected.find(option.key);
    const auto kinds = found == expected.end() ? std::pair<std::string, Kinds>() : found->second;
    EXPECT_EQ(option.info.applies.kind_key, kinds.first) << option.key;
    EXPECT_EQ(option.info.applies.kinds, kinds.second) << option.key;
  }
}

TEST(DataOptions, FilesNeedAPathAndSyntheticTakesNone) {
  for (const char* kind : {"idx", "cifar10", "cifar100", "image_folder", "tar_shards"}) {
    DataOptions options = of_kind(kind);
    EXPECT_THAT(wrong_keys(options), ElementsAre("data.path")) << kind;
    options.path = "x";
    EXPECT_THAT(wrong_keys(options), IsEmpty()) << kind;
  }
  DataOptions options = of_kind("synthetic");
  EXPECT_THAT(wrong_keys(options), IsEmpty());
  options.path = "x";
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.path"));
  EXPECT_THAT(wrong_keys(of_kind("somebody's own")), IsEmpty());
}

TEST(DataOptions, ValidationComesFromOnePlace) {
  DataOptions options = of_kind("image_folder");
  options.path = "x";
  options.val_fraction = 0.1;
  EXPECT_THAT(wrong_keys(options), IsEmpty());
  options.val_path = "y";
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.val_fraction"));
  options.val_fraction = 0;
  EXPECT_THAT(wrong_keys(options), IsEmpty());
  options = of_kind("synthetic");
  options.val_fraction = 0.1;
  EXPECT_THAT(wrong_keys(options), ElementsAre("data.val_fraction"));
}

TEST(DataOptions, TrainingAndEvaluationSeeImagesOfOneSize) {
  DataOptions options = of_kind("image_folder");
  options.path = "x";
  options.augment.resized_crop = 224;
  EXPECT_THAT(wrong_keys(options), IsEmpty());
  options.image_size = 224;
  EXPECT_THAT(wrong_keys(options), IsEmpty());
  options.image_size = 256;
  ASSERT_THAT(wrong_keys(options), ElementsAre("data.image_size"));
  EXPECT_THAT(check(options)[0].message, HasSubstr("legal: 224"));
  options.augment.resized_crop = 0;
  EXPECT_THAT(wrong_keys(options), IsEmpty());
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
