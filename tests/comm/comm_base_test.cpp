#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "comm/base/log.h"
#include "comm/base/option_table.h"
#include "comm/base/suggest.h"

namespace largo {
namespace {

using testing::HasSubstr;

std::optional<std::string> set(OptionTable& table, const std::string& key,
                               const std::string& text) {
  return table.find(key)->set({.scalar = text});
}

TEST(Error, CarriesItsExitCode) {
  EXPECT_EQ(exit_code(Error(ExitCode::kBadData, "x")), ExitCode::kBadData);
  EXPECT_EQ(exit_code(std::runtime_error("x")), ExitCode::kInternal);
  try {
    LARGO_CHECK(1 + 1 == 3, "one and ", 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInternal);
    EXPECT_THAT(error.what(), HasSubstr("1 + 1 == 3 does not hold: one and 1"));
  }
}

TEST(OptionTable, RefusesWhatIsNotANumber) {
  OptionTable table;
  int64_t count = 5;
  double rate = 0.5;
  table.add("count", count, at_least<int64_t>(1), {});
  table.add("rate", rate, at_least_below(0.0, 1.0), {});
  for (const char* text : {"", "1.5", "1e3", "010", "-010", "0x10", "1_000", " 1", "1 ", "one",
                           "+1", "99999999999999999999"}) {
    const auto wrong = set(table, "count", text);
    ASSERT_TRUE(wrong.has_value()) << text;
    EXPECT_THAT(*wrong, HasSubstr("legal: integer >= 1")) << text;
  }
  EXPECT_THAT(*set(table, "count", "0"), HasSubstr("\"0\" is out of range"));
  for (const char* text :
       {"nan", ".nan", "inf", "-inf", "1", "-0.1", "00.5", "0.5x", "1e400", ""}) {
    EXPECT_TRUE(set(table, "rate", text).has_value()) << text;
  }
  EXPECT_EQ(count, 5);
  EXPECT_EQ(rate, 0.5);
  EXPECT_FALSE(set(table, "count", "7"));
  EXPECT_FALSE(set(table, "rate", "1e-3"));
  EXPECT_EQ(count, 7);
  EXPECT_EQ(rate, 1e-3);
}

TEST(OptionTable, NumbersReadBackToTheSameBits) {
  for (const double value : {0.1, 1.0 / 3, 5e-4, 1e300, 0.0, 123456789.125}) {
    EXPECT_EQ(OptionCodec<double>::parse(OptionCodec<double>::print(value)), value);
  }
}

TEST(OptionTable, ListsOptionalsAndChoices) {
  OptionTable table;
  std::vector<double> list;
  std::optional<int64_t> maybe;
  int color = 1;
  bool flag = false;
  table.add("list", list, between(0.0, 1.0), {});
  table.add("maybe", maybe, at_least<int64_t>(0), {});
  table.add_choice("color", color, {{"red", 1}, {"green", 2}}, {});
  table.add("flag", flag, {}, {});
  EXPECT_EQ(table.find("maybe")->text(), std::nullopt);
  EXPECT_FALSE(set(table, "maybe", "3"));
  EXPECT_EQ(table.find("maybe")->text(), "3");
  EXPECT_THAT(*set(table, "maybe", "-1"), HasSubstr("out of range"));
  EXPECT_EQ(maybe, 3);

  EXPECT_FALSE(table.find("list")->set({.is_list = true, .items = {"0.25", "1"}}));
  EXPECT_EQ(table.find("list")->text(), "[0.25, 1]");
  EXPECT_THAT(*table.find("list")->set({.is_list = true, .items = {"0.5", "2"}}),
              HasSubstr("\"2\" is out of range"));
  EXPECT_THAT(*set(table, "list", "0.5"), HasSubstr("list of number"));
  EXPECT_EQ(list, (std::vector<double>{0.25, 1}));

  EXPECT_THAT(*set(table, "color", "gren"), HasSubstr("red | green; did you mean \"green\"?"));
  EXPECT_FALSE(set(table, "color", "green"));
  EXPECT_EQ(color, 2);
  EXPECT_TRUE(set(table, "flag", "yes"));
  EXPECT_FALSE(set(table, "flag", "true"));
  EXPECT_TRUE(flag);
  EXPECT_THAT(*table.find("flag")->set({.is_list = true, .items = {"true"}}), HasSubstr("list"));
  EXPECT_THROW(table.add("flag", flag, {}, {}), Error);
  EXPECT_EQ(table.find("nothing"), nullptr);
}

TEST(Suggest, CountsSwapsAsOneEdit) {
  EXPECT_EQ(edit_distance("linear", "linear"), 0);
  EXPECT_EQ(edit_distance("lienar", "linear"), 1);
  EXPECT_EQ(edit_distance("liner", "linear"), 1);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(nearest("warmpu", {"policy", "warmup"}), "warmup");
  EXPECT_EQ(nearest("frobnicate", {"policy", "warmup"}), std::nullopt);
  EXPECT_EQ(nearest("x", {"lr"}), std::nullopt);  // a whole word away is no hint
}

TEST(Log, TagsErrorsAndKeepsOtherRanksQuiet) {
  const auto file = std::filesystem::temp_directory_path() / concat("largo_log_test_", getpid());
  std::FILE* stream = std::fopen(file.c_str(), "w");
  ASSERT_NE(stream, nullptr);
  Log log(stream);
  log.set_rank(3, 4, "node7");
  log.note("not from me");
  log.warn("nor this");
  log.warn_of_rank("only I can know");
  log.error("broken");
  log.set_rank(0, 4, "node1");
  log.note("hello");
  std::fclose(stream);
  std::ifstream in(file);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(text,
            "[rank 3 @ node7] warning: only I can know\n"
            "[rank 3 @ node7] error: broken\nhello\n");
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace largo
