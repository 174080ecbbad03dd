#include "trainer/nn/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace largo::nn {
namespace {

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
  EXPECT_EQ(set("model.norm.groups", "4"), std::nullopt);
  EXPECT_EQ(set("model.norm.momentum", "0.01"), std::nullopt);
  EXPECT_EQ(set("model.norm.epsilon", "1e-3"), std::nullopt);
  EXPECT_EQ(set("model.zero_init_residual", "false"), std::nullopt);
  EXPECT_EQ(set("loss.kind", "cross_entropy"), std::nullopt);
  EXPECT_EQ(set("loss.label_smoothing", "0.1"), std::nullopt);
  EXPECT_EQ(model_.name, "resnet20");
  EXPECT_EQ(model_.norm.kind, NormKind::kSyncBatch);
  EXPECT_EQ(model_.norm.groups, 4);
  EXPECT_EQ(model_.norm.momentum, 0.01);
  EXPECT_EQ(model_.norm.epsilon, 1e-3);
  EXPECT_FALSE(model_.zero_init_residual);
  EXPECT_EQ(loss_.label_smoothing, 0.1);
}

TEST_F(NnOptionsTest, RefusesOthers) {
  EXPECT_THAT(set("model.norm.kind", "bach"), Optional(HasSubstr("did you mean \"batch\"")));
  EXPECT_THAT(set("model.norm.groups", "0"), Optional(HasSubstr(">= 1")));
  EXPECT_THAT(set("model.norm.momentum", "1.5"), Optional(HasSubstr("between 0 and 1")));
  EXPECT_THAT(set("model.norm.epsilon", "0"), Optional(HasSubstr("> 0")));
  EXPECT_THAT(set("loss.kind", "mse"), Optional(HasSubstr("cross_entropy")));
  EXPECT_THAT(set("loss.label_smoothing", "-0.1"), Optional(HasSubstr("between 0 and 1")));
}

TEST_F(NnOptionsTest, EveryKeyAltersTheTrajectoryAndOnlyTheNameIsRequired) {
  for (const Option& option : table_.options()) {
    EXPECT_EQ(option.info.effect, Effect::kTrajectory) << option.key;
    EXPECT_EQ(option.info.required, option.key == "model.name") << option.key;
    EXPECT_FALSE(option.info.description.empty()) << option.key;
  }
}

TEST_F(NnOptionsTest, KindsOwnTheirKeys) {
  EXPECT_THAT(table_.find("model.norm.groups")->info.applies.kinds, testing::ElementsAre("group"));
  EXPECT_THAT(table_.find("model.norm.momentum")->info.applies.kinds,
              testing::ElementsAre("batch", "sync_batch"));
  EXPECT_TRUE(table_.find("model.norm.epsilon")->info.applies.kinds.empty());
}

}  // namespace
}  // namespace largo::nn
