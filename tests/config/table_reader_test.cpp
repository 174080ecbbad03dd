#include "trainer/config/table_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"

namespace largo::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Options {
  std::string title;
  double rate = 0;
  std::optional<int64_t> limit;
  std::vector<int64_t> shape = {1, 2};
  std::string path;
  int shape_kind = 0;  // flat, bumpy
  int64_t bumps = 3;
  bool rough = false;
  int64_t border = 0;
  bool mirror = false;
};

class TableReader : public ::testing::Test {
 protected:
  TableReader() {
    table_.add("top.title", options_.title, Range<std::string>{}, {.description = "any words"});
    table_.add("top.rate", options_.rate, above(0.0),
               {.description = "how fast", .required = true});
    table_.add("top.limit", options_.limit, at_least<int64_t>(1), {.description = "at most"});
    table_.add("top.shape", options_.shape, at_least<int64_t>(1), {.description = "lengths"});
    table_.add("top.path", options_.path, Range<std::string>{},
               {.description = "folder", .is_path = true});
    table_.add_choice<int>("form.kind", options_.shape_kind, {{"flat", 0}, {"bumpy", 1}},
                           {.description = "form"});
    table_.add("form.bumps", options_.bumps, at_least<int64_t>(1),
               {.description = "how many", .applies = {"form.kind", {"bumpy"}}});
    table_.add("form.rough", options_.rough, Range<bool>{}, {.description = "rough"});
    table_.add("form.edge.border", options_.border, at_least<int64_t>(0), {.description = "px"});
    table_.add("form.edge.mirror", options_.mirror, Range<bool>{}, {.description = "mirror"});
  }

  ReadResult read(const std::string& file, const std::vector<std::string>& overrides = {}) {
    return read_table(table_, {"f.yaml", file}, overrides, [](const std::string& name) {
      return name == "HOME" ? "/home/me" : name == "ODD" ? "a${HOME}" : nullptr;
    });
  }

  std::vector<std::string> problems(const std::string& file,
                                    const std::vector<std::string>& overrides = {}) {
    std::vector<std::string> texts;
    for (const Diagnostic& problem : read(file, overrides).problems)
      texts.push_back(problem.text());
    return texts;
  }

  Options options_;
  OptionTable table_;
};

TEST_F(TableReader, FillsEveryKindOfField) {
  EXPECT_THAT(problems("top:\n  title: two words\n  rate: 2.5e-3\n  limit: 7\n  shape: [3, 4, 5]\n"
                       "  path: ${HOME}/data\nform: {kind: bumpy, bumps: 9, rough: true,\n"
                       "  edge: {border: 4, mirror: true}}\n"),
              IsEmpty());
  EXPECT_EQ(options_.title, "two words");
  EXPECT_EQ(options_.rate, 2.5e-3);
  EXPECT_EQ(options_.limit, 7);
  EXPECT_THAT(options_.shape, ElementsAre(3, 4, 5));
  EXPECT_EQ(options_.path, "/home/me/data");
  EXPECT_EQ(options_.shape_kind, 1);
  EXPECT_EQ(options_.bumps, 9);
  EXPECT_TRUE(options_.rough);
  EXPECT_EQ(options_.border, 4);
  EXPECT_TRUE(options_.mirror);
}

TEST_F(TableReader, LeavesDefaults) {
  EXPECT_THAT(problems("top: {rate: 1}"), IsEmpty());
  EXPECT_EQ(options_.limit, std::nullopt);
  EXPECT_THAT(options_.shape, ElementsAre(1, 2));
  EXPECT_EQ(options_.bumps, 3);
}

TEST_F(TableReader, OverridesWinAndMerge) {
  EXPECT_THAT(
      problems("top: {rate: 1, limit: 5}\nform: {rough: true}",
               {"top.rate=2", "top.shape=[8, 9]", "form.edge={border: 1}", "top.title=a=b"}),
      IsEmpty());
  EXPECT_EQ(options_.rate, 2);
  EXPECT_EQ(options_.limit, 5);
  EXPECT_THAT(options_.shape, ElementsAre(8, 9));
  EXPECT_EQ(options_.border, 1);
  EXPECT_TRUE(options_.rough);
  EXPECT_EQ(options_.title, "a=b");
}

TEST_F(TableReader, KnowsWhereValuesComeFrom) {
  const Provenance from = read("top: {rate: 1,\n  limit: 5}\n", {"top.rate=2"}).provenance;
  EXPECT_EQ(from.words("top.rate"), "override");
  EXPECT_EQ(from.words("top.limit"), "f.yaml:2");
  EXPECT_EQ(from.words("top.shape"), "default");
}

TEST_F(TableReader, ReportsExactly) {
  EXPECT_THAT(problems("top:\n  rate: -1\n"),
              ElementsAre("f.yaml:2:9: top.rate: \"-1\" is out of range; legal: number > 0\n"
                          "    rate: -1\n"
                          "          ^"));
  EXPECT_THAT(problems("top:\n  raet: 1\n"),
              ElementsAre("f.yaml:2:3: top.raet: unknown key; did you mean rate?\n"
                          "    raet: 1\n"
                          "    ^"));
  EXPECT_THAT(problems("form: {}\ntop: {limit: 1}\n"),
              ElementsAre("f.yaml:2:1: top: rate is missing: how fast; number > 0\n"
                          "  top: {limit: 1}\n"
                          "  ^"));
  EXPECT_THAT(problems("top: {rate: 1}", {"top.limit=2", "top.rate=0.x"}),
              ElementsAre("override 2: top.rate=0.x: \"0.x\" is not a number; legal: number > 0"));
}

TEST_F(TableReader, MissingKeysAreNotReportedTwice) {
  EXPECT_THAT(problems("top:\n"),
              ElementsAre(HasSubstr("top: has no value; legal: a map of title")));
  EXPECT_THAT(problems("top: {rate: }\n"), ElementsAre(HasSubstr("top.rate: has no value")));
  EXPECT_THAT(problems("top: {rate: &a 1}\n"), ElementsAre(HasSubstr("an anchor")));
  EXPECT_THAT(problems("top: {<<: {rate: 1}}\n"), ElementsAre(HasSubstr("a merge key")));
  EXPECT_THAT(problems("top: {raet: 1}\n"), ElementsAre(HasSubstr("did you mean rate")));
  EXPECT_THAT(problems("form: {}", {"top.rate=[1"}), ElementsAre(HasSubstr("not YAML")));
  EXPECT_THAT(problems("top: {limit: {\n"), ElementsAre(HasSubstr("not YAML")));
}

TEST_F(TableReader, TellsSectionsFromValues) {
  EXPECT_THAT(problems("top: {rate: 1}\nform: 3"),
              ElementsAre(HasSubstr("form: \"3\" is one value; legal: a map of kind, bumps")));
  EXPECT_THAT(problems("top: {rate: 1}\nform: [a]"), ElementsAre(HasSubstr("form: is a list")));
  EXPECT_THAT(problems("top: {rate: {a: 1}}"), ElementsAre(HasSubstr("top.rate: is a map")));
  EXPECT_THAT(problems("top: {rate: [1]}"), ElementsAre(HasSubstr("top.rate: is a list")));
  EXPECT_THAT(problems("top: {rate: 1, shape: 3}"),
              ElementsAre(HasSubstr("\"3\" is one value; legal: list of integer values >= 1")));
  EXPECT_THAT(problems("top: {rate: 1, shape: [1, {a: 2}]}"),
              ElementsAre(HasSubstr("top.shape: item 2 is a map")));
  EXPECT_THAT(problems("top: {rate: 1}", {"form=none"}),
              ElementsAre(HasSubstr("override 1: form=none: \"none\" is one value")));
}

TEST_F(TableReader, NoneIsANestedSectionsDefaults) {
  EXPECT_THAT(problems("top: {rate: 1}\nform: {edge: none}\n"), IsEmpty());
  EXPECT_THAT(
      problems("top: {rate: 1}\nform: {edge: {border: 5, mirror: true}}\n", {"form.edge=none"}),
      IsEmpty());
  EXPECT_EQ(options_.border, 0);
  EXPECT_FALSE(options_.mirror);
}

TEST_F(TableReader, QuotedNumbersAreText) {
  EXPECT_THAT(problems("top: {rate: '1'}"),
              ElementsAre(HasSubstr("\"1\" is in quotes, which make it text; legal: number > 0")));
  EXPECT_THAT(problems("top: {rate: 1, shape: [1, \"2\"]}"),
              ElementsAre(HasSubstr("f.yaml:1:27: top.shape: item 2 \"2\" is in quotes")));
  EXPECT_THAT(problems("top: {rate: 1, title: '1'}\nform: {kind: 'flat'}"), IsEmpty());
  EXPECT_EQ(options_.title, "1");
}

TEST_F(TableReader, TextIsOneLine) {
  EXPECT_THAT(problems("top:\n  rate: 1\n  title: |\n    a\n"),
              ElementsAre(HasSubstr("top.title: holds a line break")));
  EXPECT_THAT(problems("top: {rate: 1, title: \"a\\0b\"}"),
              ElementsAre(HasSubstr("top.title: holds a control character")));
  EXPECT_THAT(problems("top: {rate: 1, title: " + std::string(5000, 'x') + "}"),
              ElementsAre(HasSubstr("is 5000 bytes long; legal: at most 4096")));
}

TEST_F(TableReader, ExpandsVariablesInPathsOnly) {
  EXPECT_THAT(problems("top: {rate: 1, title: '${HOME}', path: 'x${HOME}y${HOME}'}"), IsEmpty());
  EXPECT_EQ(options_.title, "${HOME}");
  EXPECT_EQ(options_.path, "x/home/mey/home/me");
  EXPECT_THAT(problems("top: {rate: 1, path: '${NONE}/a'}"),
              ElementsAre(HasSubstr("top.path: the environment variable NONE is not set")));
  EXPECT_THAT(problems("top: {rate: 1, path: '${HOME'}"), ElementsAre(HasSubstr("no ${VARIABLE}")));
  EXPECT_THAT(problems("top: {rate: 1, path: '${}'}"), ElementsAre(HasSubstr("no ${VARIABLE}")));
  EXPECT_THAT(problems("top: {rate: 1, path: '${ODD}'}"), ElementsAre(HasSubstr("ODD holds ${")));
}

TEST_F(TableReader, KeysBelongToKinds) {
  EXPECT_THAT(problems("top: {rate: 1}\nform: {bumps: 2}"),
              ElementsAre(HasSubstr("f.yaml:2:8: form.bumps: belongs to form.kind bumpy; here "
                                    "form.kind is flat")));
  EXPECT_THAT(problems("top: {rate: 1}", {"form.bumps=2"}),
              ElementsAre("override 1: form.bumps=2: belongs to form.kind bumpy; here form.kind is "
                          "flat"));
  // A wrong kind is one problem, not two.
  EXPECT_THAT(problems("top: {rate: 1}\nform: {kind: bumpi, bumps: 2}"), SizeIs(1));
}

TEST_F(TableReader, AnOverriddenKindDropsTheOtherKindsKeys) {
  const std::string file = "top: {rate: 1}\nform: {kind: bumpy, bumps: 2, rough: true}";
  const ReadResult result = read(file, {"form.kind=flat"});
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_THAT(result.notes, ElementsAre("form.kind=flat drops form.bumps from the file (line 2)"));
  EXPECT_TRUE(options_.rough);
  EXPECT_EQ(options_.bumps, 3);
  EXPECT_EQ(result.provenance.words("form.bumps"), "default");

  EXPECT_THAT(read(file, {"form.kind=bumpy"}).notes, IsEmpty());
  EXPECT_THAT(read(file, {"form={kind: flat}"}).notes, SizeIs(1));
  // What the user typed is not dropped, and a file that was wrong before stays wrong.
  EXPECT_THAT(problems(file, {"form.kind=flat", "form.bumps=2"}), SizeIs(1));
  EXPECT_THAT(problems("top: {rate: 1}\nform: {bumps: 2}", {"form.kind=flat"}), SizeIs(1));
}

TEST_F(TableReader, HintsAtKeys) {
  EXPECT_THAT(problems("top: {rate: 1}\nfrom: {}"), ElementsAre(HasSubstr("did you mean form?")));
  EXPECT_THAT(problems("top: {rate: 1}\nbumps: 2"),
              ElementsAre(HasSubstr("did you mean form.bumps?")));
  EXPECT_THAT(problems("top: {rate: 1, mirorr: true}"),
              ElementsAre(HasSubstr("did you mean form.edge.mirror?")));
  EXPECT_THAT(problems("top: {rate: 1}\nwhatever: 2"),
              ElementsAre(HasSubstr("whatever: unknown key; legal here: top, form")));
  EXPECT_THAT(problems("form: {}\ntop.rate: 1"),
              ElementsAre(HasSubstr("in a file a dot is written as a map: top: {rate: ...}")));
  EXPECT_THAT(problems("top: {rate: 1}", {"form.egde.border=1"}),
              ElementsAre(HasSubstr("form.egde: unknown key; did you mean edge?")));
  EXPECT_THAT(problems("top: {rate: 1, \"a\\eb\": 1}"), ElementsAre(HasSubstr("top.a?b: unknown")));
}

TEST_F(TableReader, ChecksOverridesAsSuch) {
  EXPECT_THAT(problems("top: {rate: 1}", {"top.limit="}),
              ElementsAre(HasSubstr("override 1: top.limit=: has no value")));
  EXPECT_THAT(problems("top: {rate: 1}", {"top.limit=1", "top={limit: 1}"}),
              ElementsAre("override 2: top={limit: 1}: top.limit: is given twice on the command "
                          "line; first in override 1"));
  EXPECT_THAT(problems("top: {rate: 1}", {"top=limit: 1"}), ElementsAre(HasSubstr("is a block")));
  EXPECT_THAT(problems("top: {rate: 1}", {"top.rate.x=1"}),
              ElementsAre(HasSubstr("top.rate: has no keys of its own; legal: number > 0")));
  for (const std::string word : {"--fresh", "=3", ""}) {
    try {
      read("top: {rate: 1}", {word});
      FAIL() << word;
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      EXPECT_THAT(error.what(), HasSubstr("legal: key=value"));
    }
  }
}

TEST_F(TableReader, OwnersProblemsGetAPlace) {
  ReadResult result = read("top:\n  rate: 1\nform:\n  rough: true\n", {"top.limit=3"});
  result.add_owner_problems({{"top.limit", "one"},
                             {"top.rate", "two"},
                             {"form.edge.border", "three"},
                             {"elsewhere", "four"}});
  EXPECT_THAT(ConfigError(result.problems).what(),
              ::testing::StrEq("f.yaml:1:1: elsewhere: four\n  top:\n  ^\n"
                               "f.yaml:2:3: top.rate: two\n    rate: 1\n    ^\n"
                               "f.yaml:3:1: form.edge.border: three\n  form:\n  ^\n"
                               "override 1: top.limit=3: one"));
}

TEST_F(TableReader, OwnersAreNotAskedAboutSpoiltSections) {
  ReadResult result = read("top: {rate: x}\nform: {rough: true}\n");
  result.add_owner_problems({{"top.rate", "is zero"}, {"form.rough", "wrong"}});
  ASSERT_THAT(result.problems, SizeIs(2));
  EXPECT_EQ(result.problems[1].message, "wrong");
}

TEST(ConfigErrors, AreSortedAndUnique) {
  const SourceText file{"f.yaml", "a\nb\n"};
  const SourceLines lines(file);
  const ConfigError error({lines.diagnostic({2, 1}, "k", "second"),
                           lines.diagnostic({1, 1}, "k", "first"),
                           lines.diagnostic({2, 1}, "k", "second")});
  ASSERT_THAT(error.diagnostics(), SizeIs(2));
  EXPECT_EQ(error.diagnostics()[0].message, "first");
  EXPECT_EQ(error.code(), ExitCode::kConfig);
}

}  // namespace
}  // namespace largo::config
