#include "trainer/config/set_value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "comm/base/error.h"
#include "tests/config/config_text.h"
#include "trainer/config/load.h"

namespace largo::config {
namespace {

std::string set(const std::string& text, const std::string& key, const std::string& value) {
  return with_value({"run.yaml", text}, key, value);
}

TEST(SetValue, ChangesTheValueAndNothingElse) {
  EXPECT_EQ(set("lr: {base: 0.1, base_batch: 64}  # ours\n", "lr.base", "0.25"),
            "lr: {base: 0.25, base_batch: 64}  # ours\n");
  EXPECT_EQ(
      set("# Grüße\r\nlr:\r\n    base :   1e-3   # tuned\r\n    base_batch: 64", "lr.base", "2"),
      "# Grüße\r\nlr:\r\n    base :   2   # tuned\r\n    base_batch: 64");
  EXPECT_EQ(set("{lr: {policy: {kind: tri, k1: 3}, base_batch: 1}}", "lr.policy.k1", "0.5"),
            "{lr: {policy: {kind: tri, k1: 0.5}, base_batch: 1}}");
  EXPECT_EQ(set("run: {name: base}\nlr: {base: 7}", "lr.base", "8"),
            "run: {name: base}\nlr: {base: 8}");
}

TEST(SetValue, PutsInWhatIsNotThere) {
  EXPECT_EQ(set("a: 1\nlr:\n  # first\n  base_batch: 64\n", "lr.base", "2"),
            "a: 1\nlr:\n  # first\n  base: 2\n  base_batch: 64\n");
  EXPECT_EQ(set("lr: {base_batch: 64}", "lr.base", "2"), "lr: {base: 2, base_batch: 64}");
  EXPECT_EQ(set("lr: {}", "lr.base", "2"), "lr: {base: 2}");
  EXPECT_EQ(set("# top\na: 1\n", "lr.policy.k1", "2"), "# top\nlr: {policy: {k1: 2}}\na: 1\n");
  EXPECT_EQ(set("lr: {policy: triangular}", "lr.policy.k1", "2"),
            "lr: {policy: {kind: triangular, k1: 2}}");
}

TEST(SetValue, RefusesWhatItWouldHaveToGuess) {
  EXPECT_THROW(set("lr: {base: [1, 2]}", "lr.base", "2"), Error);
  EXPECT_THROW(set("lr: {base: \"1\"}", "lr.base", "2"), Error);
  EXPECT_THROW(set("lr: {base: }", "lr.base", "2"), Error);
  EXPECT_THROW(set("- 1\n- 2\n", "lr.base", "2"), Error);
}

TEST(SetValue, WhatComesOutIsTheConfigurationWithThatValue) {
  const std::string text = set(kSmallest, "lr.base", "0.0375");
  EXPECT_EQ(load_config({"run.yaml", text}, {}).values.lr.base, 0.0375);
}

}  // namespace
}  // namespace largo::config
