#include "trainer/nn/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace largo::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

class NnOptionsTest : public testing::Test {
 protected:
  NnOptionsTest() {
    declare_options(table_, model_);
    declare_options(table_, loss_);
  }
  std::optional<std::string> set(const std::string& key, const std::string& text) {
    Option* const option = table_.find(key);
    EXPECT_NE(option, nullptr) << key;
    return option->set({.scalar = text});
  }

  ModelOptions model_;
  LossOptions loss_;
  OptionTable table_;
};

TEST_F(NnOptionsTest, TakesLegalValues) {
  EXPECT_EQ(set("model.name", "resnet20"), std::nullopt);
  EXPECT_EQ(set("model.norm.kind", "sync_batch"), std::nullopt);
  EXPECT_EQ(set("model.norm.sync_ranks", "node"), std::nullopt);
  EXPECT_EQ(set("model.norm.virtual_batch", "16"), std::nullopt);
  EXPECT_EQ(set("model.norm.groups", "4"), std::nullopt);
  EXPECT_EQ(set("model.norm.channels_per_group", "2"), std::nullopt);
  EXPECT_EQ(set("model.norm.momentum", "0.01"), std::nullopt);
  EXPECT_EQ(set("model.norm.epsilon", "1e-3"), std::nullopt);
  EXPECT_EQ(set("model.norm.affine", "false"), std::nullopt);
  EXPECT_EQ(set("model.weight_standardization", "true"), std::nullopt);
  EXPECT_EQ(set("model.zero_init_residual", "false"), std::nullopt);
  EXPECT_EQ(set("model.stem", "imagenet"), std::nullopt);
  EXPECT_EQ(set("loss.kind", "cross_entropy"), std::nullopt);
  EXPECT_EQ(set("loss.label_smoothing", "0.1"), std::nullopt);
  EXPECT_EQ(model_.name, "resnet20");
  EXPECT_EQ(model_.norm.kind, NormKind::kSyncBatch);
  EXPECT_EQ(model_.norm.sync_ranks.kind, SyncRanks::Kind::kNode);
  EXPECT_EQ(model_.norm.virtual_batch, 16);
  EXPECT_EQ(model_.norm.groups, 4);
  EXPECT_EQ(model_.norm.channels_per_group, 2);
  EXPECT_EQ(model_.norm.momentum, 0.01);
  EXPECT_EQ(model_.norm.epsilon, 1e-3);
  EXPECT_FALSE(model_.norm.affine);
  EXPECT_TRUE(model_.weight_standardization);
  EXPECT_FALSE(model_.zero_init_residual);
  EXPECT_EQ(model_.stem, Stem::kImagenet);
  EXPECT_EQ(loss_.label_smoothing, 0.1);
}

TEST_F(NnOptionsTest, RefusesOthers) {
  EXPECT_THAT(set("model.norm.kind", "bach"), Optional(HasSubstr("did you mean \"batch\"")));
  EXPECT_THAT(set("model.norm.virtual_batch", "0"), Optional(HasSubstr(">= 1")));
  EXPECT_THAT(set("model.norm.groups", "0"), Optional(HasSubstr(">= 1")));
  EXPECT_THAT(set("model.norm.channels_per_group", "-2"), Optional(HasSubstr(">= 1")));
  EXPECT_THAT(set("model.norm.momentum", "1.5"), Optional(HasSubstr("between 0 and 1")));
  EXPECT_THAT(set("model.norm.epsilon", "0"), Optional(HasSubstr("> 0")));
  EXPECT_THAT(set("loss.kind", "mse"), Optional(HasSubstr("cross_entropy")));
  EXPECT_THAT(set("loss.label_smoothing", "-0.1"), Optional(HasSubstr("between 0 and 1")));
}

TEST_F(NnOptionsTest, EveryKeyButFusedAltersTheTrajectoryAndOnlyTheNameIsRequired) {
  for (const Option& option : table_.options()) {
    const Effect effect = option.key == "model.fused" ? Effect::kSpeed : Effect::kTrajectory;
    EXPECT_EQ(option.info.effect, effect) << option.key;
    EXPECT_EQ(option.info.required, option.key == "model.name") << option.key;
    EXPECT_FALSE(option.info.description.empty()) << option.key;
  }
}

TEST_F(NnOptionsTest, EveryKindOfNormHasItsWord) {
  const std::vector<std::pair<std::string, NormKind>> words = {
      {"batch", NormKind::kBatch},
      {"sync_batch", NormKind::kSyncBatch},
      {"ghost_batch", NormKind::kGhostBatch},
      {"group", NormKind::kGroup},
      {"layer", NormKind::kLayer},
      {"instance", NormKind::kInstance},
      {"none", NormKind::kNone}};
  for (const auto& [word, kind] : words) {
    EXPECT_EQ(set("model.norm.kind", word), std::nullopt);
    EXPECT_EQ(model_.norm.kind, kind) << word;
    EXPECT_EQ(table_.find("model.norm.kind")->text(), word);
  }
}

TEST_F(NnOptionsTest, SyncRanksAreWorldNodeOrANumber) {
  const std::string key = "model.norm.sync_ranks";
  EXPECT_EQ(table_.find(key)->default_text, "world");
  const std::vector<std::pair<std::string, SyncRanks>> words = {
      {"node", {SyncRanks::Kind::kNode, 0}},
      {"16", {SyncRanks::Kind::kNumber, 16}},
      {"1", {SyncRanks::Kind::kNumber, 1}},
      {"world", {SyncRanks::Kind::kWorld, 0}}};
  for (const auto& [word, value] : words) {
    EXPECT_EQ(set(key, word), std::nullopt);
    EXPECT_EQ(model_.norm.sync_ranks, value) << word;
    EXPECT_EQ(table_.find(key)->text(), word);
  }
  for (const std::string wrong : {"half", "1.5", "", "010"}) {
    EXPECT_THAT(set(key, wrong), Optional(HasSubstr("is neither world nor node nor an integer")))
        << wrong;
  }
  for (const std::string wrong : {"0", "-4"}) {
    EXPECT_THAT(set(key, wrong), Optional(AllOf(HasSubstr("is out of range"),
                                                HasSubstr("world, node or an integer >= 1"))))
        << wrong;
  }
  EXPECT_EQ(model_.norm.sync_ranks.kind, SyncRanks::Kind::kWorld);  // wrong ones change nothing
}

TEST_F(NnOptionsTest, KindsOwnTheirKeys) {
  const auto kinds = [&](const std::string& key) {
    const AppliesTo& applies = table_.find("model.norm." + key)->info.applies;
    EXPECT_EQ(applies.kind_key, "model.norm.kind") << key;
    return applies.kinds;
  };
  EXPECT_THAT(kinds("sync_ranks"), ElementsAre("sync_batch"));
  EXPECT_THAT(kinds("virtual_batch"), ElementsAre("ghost_batch"));
  EXPECT_THAT(kinds("groups"), ElementsAre("group"));
  EXPECT_THAT(kinds("channels_per_group"), ElementsAre("group"));
  EXPECT_THAT(kinds("momentum"), ElementsAre("batch", "sync_batch", "ghost_batch"));
  for (const std::string key : {"epsilon", "affine"}) {
    EXPECT_THAT(kinds(key),
                ElementsAre("batch", "sync_batch", "ghost_batch", "group", "layer", "instance"))
        << key;
  }
}

TEST(GroupCountTest, TakesEitherNumberOrTheDefault) {
  EXPECT_EQ(group_count({}, 64), kDefaultGroups);
  EXPECT_EQ(group_count({.groups = 4}, 64), 4);
  EXPECT_EQ(group_count({.channels_per_group = 4}, 64), 16);
  EXPECT_EQ(group_count({}, 12), 0);
  EXPECT_EQ(group_count({.groups = 5}, 64), 0);
  EXPECT_EQ(group_count({.channels_per_group = 128}, 64), 0);
}

TEST(ModelCheckTest, RefusesBothWaysToSizeGroups) {
  ModelOptions options;
  options.norm = {.kind = NormKind::kGroup, .groups = 4};
  EXPECT_TRUE(check(options).empty());
  options.norm.channels_per_group = 4;
  const auto problems = check(options);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].key, "model.norm.channels_per_group");
  EXPECT_THAT(problems[0].message, HasSubstr("legal: one of the two"));
}

TEST(ModelCheckTest, RefusesWeightStandardizationWithoutNorm) {
  ModelOptions options;
  options.weight_standardization = true;
  EXPECT_TRUE(check(options).empty());
  options.norm.kind = NormKind::kNone;
  const auto problems = check(options);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].key, "model.weight_standardization");
}

TEST(SyncRanksCheckTest, RefusesANumberThatDoesNotDivideTheWorld) {
  using Kind = SyncRanks::Kind;
  NormOptions options = {.kind = NormKind::kSyncBatch, .sync_ranks = {Kind::kNumber, 3}};
  const auto problems = check_sync_ranks(options, 8);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].key, "model.norm.sync_ranks");
  EXPECT_THAT(problems[0].message, HasSubstr("legal: world, node, 1, 2, 4, 8"));
  EXPECT_TRUE(check_sync_ranks(options, 9).empty());
  options.sync_ranks = {Kind::kNumber, 16};
  EXPECT_EQ(check_sync_ranks(options, 8).size(), 1U);
  options.kind = NormKind::kBatch;
  EXPECT_TRUE(check_sync_ranks(options, 8).empty());
  options = {.kind = NormKind::kSyncBatch, .sync_ranks = {Kind::kNode, 0}};
  EXPECT_TRUE(check_sync_ranks(options, 8).empty());
}

}  // namespace
}  // namespace largo::nn
