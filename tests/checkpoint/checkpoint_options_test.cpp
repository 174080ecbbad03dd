#include <gtest/gtest.h>

#include "trainer/checkpoint/options.h"

namespace largo::checkpoint {
namespace {

TEST(CheckpointOptions, EveryIsADurationOrATime) {
  CheckpointOptions options;
  OptionTable table;
  declare_options(table, options);
  Option* every = table.find("checkpoint.every");
  const auto set = [&](const char* text) {
    return every->set({.is_list = false, .scalar = text, .items = {}});
  };
  EXPECT_EQ(every->text(), "1ep");
  EXPECT_EQ(set("15min"), std::nullopt);
  EXPECT_EQ(std::get<Time>(options.every).seconds, 900);
  EXPECT_EQ(set("90s"), std::nullopt);
  EXPECT_EQ(every->text(), "90s");
  EXPECT_EQ(set("300steps"), std::nullopt);
  EXPECT_EQ(std::get<Duration>(options.every), (Duration{300, Duration::Unit::kSteps}));
  EXPECT_EQ(set("0.5ep"), std::nullopt);
  EXPECT_EQ(every->text(), "0.5ep");
  for (const char* wrong : {"0steps", "0s", "5", "ep", "s", "", "5days", "-1ep"}) {
    EXPECT_NE(set(wrong), std::nullopt) << wrong;
  }
  EXPECT_EQ(every->text(), "0.5ep");  // a refused value changes nothing
}

TEST(CheckpointOptions, ChangeOutputOnly) {
  CheckpointOptions options;
  OptionTable table;
  declare_options(table, options);
  for (const Option& option : table.options()) {
    EXPECT_EQ(option.info.effect, Effect::kOutput) << option.key;
  }
  EXPECT_TRUE(table.find("checkpoint.resume")->info.is_path);
  EXPECT_NE(table.find("checkpoint.keep")->set({.is_list = false, .scalar = "0", .items = {}}),
            std::nullopt);
}

}  // namespace
}  // namespace largo::checkpoint
