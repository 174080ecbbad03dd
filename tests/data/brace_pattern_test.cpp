#include "trainer/data/brace_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "comm/base/option_table.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> expand(const std::string& pattern) {
  return expand_braces(pattern, "data.path");
}

std::string refusal(const std::string& pattern) {
  try {
    expand(pattern);
  } catch (const OptionError& error) {
    EXPECT_EQ(error.problem().key, "data.path");
    return error.problem().message;
  }
  ADD_FAILURE() << pattern << " is accepted";
  return "";
}

TEST(BracePattern, NamesWithoutBracesStandForThemselves) {
  EXPECT_THAT(expand("/data/train.tar"), ElementsAre("/data/train.tar"));
}

TEST(BracePattern, RangesKeepTheirZeros) {
  const auto names = expand("train-{0000..0146}.tar");
  ASSERT_EQ(names.size(), 147u);
  EXPECT_EQ(names.front(), "train-0000.tar");
  EXPECT_EQ(names[99], "train-0099.tar");
  EXPECT_EQ(names.back(), "train-0146.tar");
  EXPECT_THAT(expand("{8..11}"), ElementsAre("8", "9", "10", "11"));
  EXPECT_THAT(expand("{0..2}"), ElementsAre("0", "1", "2"));
  EXPECT_THAT(expand("{08..10}"), ElementsAre("08", "09", "10"));
  EXPECT_THAT(expand("{9..011}"), ElementsAre("009", "010", "011"));
  EXPECT_THAT(expand("{5..5}"), ElementsAre("5"));
}

TEST(BracePattern, ListsAndSeveralBraces) {
  EXPECT_THAT(expand("{a,b}-{1..2}.tar"), ElementsAre("a-1.tar", "a-2.tar", "b-1.tar", "b-2.tar"));
  EXPECT_THAT(expand("x{,-extra}.tar"), ElementsAre("x.tar", "x-extra.tar"));
  EXPECT_THAT(expand("{a,b,}"), ElementsAre("a", "b", ""));
  EXPECT_THAT(expand("{a..b,c}"), ElementsAre("a..b", "c"));
}

TEST(BracePattern, RefusesWhatIsNoPattern) {
  EXPECT_THAT(refusal(""), HasSubstr("is empty"));
  EXPECT_THAT(refusal("a{9..1}"), AllOf(HasSubstr("a{9..1}: "), HasSubstr("legal: {1..9}")));
  EXPECT_THAT(refusal("ab{0..9"), HasSubstr("the { at character 3 has no }"));
  EXPECT_THAT(refusal("ab0..9}"), HasSubstr("the } at character 7 has no {"));
  EXPECT_THAT(refusal("{a,{0..9}}"), HasSubstr("the { at character 4 stands within braces"));
  EXPECT_THAT(refusal("{}"), HasSubstr("{} is neither a range nor a list"));
  EXPECT_THAT(refusal("{12}"), HasSubstr("{12} is neither"));
  EXPECT_THAT(refusal("a-*.tar"), AllOf(HasSubstr("* is not expanded"), HasSubstr("{0000..0146}")));
  EXPECT_THAT(refusal("a-?.tar"), HasSubstr("? is not expanded"));
  EXPECT_THAT(refusal("{a,b,a}.tar"), HasSubstr("stands for a.tar more than once"));
}

TEST(BracePattern, RefusesRangesThatAreNotNumbers) {
  EXPECT_THAT(refusal("{a..f}"), HasSubstr("\"a\" is not a number"));
  EXPECT_THAT(refusal("{1..}"), HasSubstr("\"\" is not a number"));
  EXPECT_THAT(refusal("{..1}"), HasSubstr("\"\" is not a number"));
  EXPECT_THAT(refusal("{-1..1}"), HasSubstr("\"-1\" is not a number"));
  EXPECT_THAT(refusal("{0..8..2}"), HasSubstr("\"8..2\" is not a number"));
  EXPECT_THAT(refusal("{0..9999999999999999999}"), HasSubstr("is not a number"));
}

TEST(BracePattern, RefusesMoreNamesThanShards) {
  EXPECT_EQ(expand("{000000..999999}").size(), kMostShards);
  EXPECT_THAT(refusal("{0..1000000}"), HasSubstr("legal: at most 1000000"));
  EXPECT_THAT(refusal("{0..999999999999999999}"), HasSubstr("too many names"));
  EXPECT_THAT(refusal("{0..999}{0..999}{a,b}"), HasSubstr("too many names"));
}

}  // namespace
}  // namespace largo::data
