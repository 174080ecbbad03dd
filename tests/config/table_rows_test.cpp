// Lists of maps: in tables, files and overrides, and as they are printed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/config/config_print.h"
#include "trainer/config/table_reader.h"

namespace largo::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// A row may have sections, a kind and rows of its own kind.
struct Piece {
  int kind = 0;  // flat, steep, list
  double slope = 1;
  std::vector<Piece> pieces = {};
};

struct Group {
  std::string match;
  double factor = 1;
  Piece shape;
};

struct Options {
  int kind = 0;  // flat, steep, list
  std::vector<Piece> pieces = {};
  std::vector<Group> groups;
};

void declare_piece(OptionTable& table, const std::string& prefix, Piece& piece) {
  table.add_choice<int>(prefix + ".kind", piece.kind, {{"flat", 0}, {"steep", 1}, {"list", 2}},
                        {.description = "form"});
  table.add(prefix + ".slope", piece.slope, at_least(0.0),
            {.description = "how steep", .applies = {prefix + ".kind", {"steep"}}});
  table.add_rows(prefix + ".pieces", piece.pieces, declare_piece,
                 {.description = "parts", .applies = {prefix + ".kind", {"list"}}});
}

OptionTable table_of(Options& options) {
  OptionTable table;
  table.add_choice<int>("top.kind", options.kind, {{"flat", 0}, {"steep", 1}, {"list", 2}},
                        {.description = "form"});
  table.add_rows("top.pieces", options.pieces, declare_piece,
                 {.description = "parts", .applies = {"top.kind", {"list"}}});
  table.add_rows("top.groups", options.groups,
                 [](OptionTable& of_row, const std::string& prefix, Group& group) {
                   of_row.add(prefix + ".match", group.match, Range<std::string>{},
                              {.description = "pattern", .required = true});
                   of_row.add(prefix + ".factor", group.factor, at_least(0.0),
                              {.description = "times"});
                   declare_piece(of_row, prefix + ".shape", group.shape);
                 },
                 {.description = "groups"});
  return table;
}

class TableRows : public ::testing::Test {
 protected:
  ReadResult read(const std::string& file, const std::vector<std::string>& overrides = {}) {
    options_ = {};
    table_ = table_of(options_);
    return read_table(table_, {"f.yaml", file}, overrides);
  }

  std::vector<std::string> problems(const std::string& file,
                                    const std::vector<std::string>& overrides = {}) {
    std::vector<std::string> texts;
    for (const Diagnostic& problem : read(file, overrides).problems)
      texts.push_back(problem.text());
    return texts;
  }

  std::string printed() const {
    return print_table(table_, [](const std::string&) { return ""; });
  }

  Options options_;
  OptionTable table_;
};

const std::string kTwoGroups =
    "top:\n"
    "  groups:\n"
    "    - {match: '*.bias', factor: 2}\n"
    "    - match: fc.*\n"
    "      shape: {kind: steep, slope: 3}\n";

TEST_F(TableRows, AreFilledAndPrintedBack) {
  ASSERT_THAT(problems(kTwoGroups), IsEmpty());
  ASSERT_THAT(options_.groups, SizeIs(2));
  EXPECT_EQ(options_.groups[0].match, "*.bias");
  EXPECT_EQ(options_.groups[0].factor, 2);
  EXPECT_EQ(options_.groups[1].factor, 1);
  EXPECT_EQ(options_.groups[1].shape.slope, 3);
  const std::string text = printed();
  EXPECT_EQ(text,
            "top:\n"
            "  kind: flat\n"
            "  groups:\n"
            "    - match: \"*.bias\"\n"
            "      factor: 2\n"
            "      shape:\n"
            "        kind: flat\n"
            "    - match: \"fc.*\"\n"
            "      factor: 1\n"
            "      shape:\n"
            "        kind: steep\n"
            "        slope: 3\n");
  ASSERT_THAT(problems(text), IsEmpty());
  EXPECT_EQ(printed(), text);
}

TEST_F(TableRows, Nest) {
  ASSERT_THAT(problems("top: {kind: list, pieces: [flat, {kind: list}]}"),
              ElementsAre(HasSubstr("f.yaml:1:28: top.pieces.0: \"flat\" is one value; legal: a "
                                    "map of kind, slope, pieces")));
  ASSERT_THAT(problems("top:\n"
                       "  kind: list\n"
                       "  pieces:\n"
                       "    - kind: list\n"
                       "      pieces: [{}, {kind: steep, slope: 5}, {kind: list}]\n"
                       "    - {kind: list, pieces: []}\n"),
              IsEmpty());
  EXPECT_EQ(options_.pieces.at(0).pieces.at(1).slope, 5);
  EXPECT_THAT(options_.pieces[0].pieces, SizeIs(3));
  EXPECT_THAT(options_.pieces.at(1).pieces, IsEmpty());
  const std::string text = printed();
  EXPECT_THAT(text, HasSubstr("    - kind: list\n      pieces:\n        - kind: flat\n"));
  ASSERT_THAT(problems(text), IsEmpty());
  EXPECT_EQ(printed(), text);
}

TEST_F(TableRows, OfACopyAreDeclaredInPlace) {
  ASSERT_THAT(problems(kTwoGroups), IsEmpty());
  Options copy = options_;
  OptionTable table = table_of(copy);
  std::vector<std::string> keys;
  std::vector<std::string> keys_read;
  for (const Option& option : table.options()) keys.push_back(option.key);
  for (const Option& option : table_.options()) keys_read.push_back(option.key);
  EXPECT_EQ(keys, keys_read);
  table.find("top.groups.1.factor")->set({.scalar = "7"});
  EXPECT_EQ(copy.groups[1].factor, 7);
  EXPECT_EQ(options_.groups[1].factor, 1);
}

TEST_F(TableRows, WrongOnesHavePlaces) {
  EXPECT_THAT(problems("top:\n  groups:\n    - match: a\n    - {match: b,\n       factor: -1}\n"),
              ElementsAre("f.yaml:5:16: top.groups.1.factor: \"-1\" is out of range; legal: number "
                          ">= 0\n         factor: -1}\n                 ^"));
  EXPECT_THAT(
      problems("top:\n  groups:\n    - match: a\n      facto: 2\n"),
      ElementsAre(HasSubstr("f.yaml:4:7: top.groups.0.facto: unknown key; did you mean factor?")));
  EXPECT_THAT(problems("top:\n  groups:\n    - match: a\n    - factor: 2\n"),
              ElementsAre(HasSubstr("f.yaml:4:7: top.groups.1: match is missing: pattern; text")));
  EXPECT_THAT(problems("top:\n  groups:\n    - {match: a, shape: {slope: 2}}\n"),
              ElementsAre(HasSubstr("f.yaml:3:26: top.groups.0.shape.slope: belongs to "
                                    "top.groups.0.shape.kind steep; here top.groups.0.shape.kind "
                                    "is flat")));
  EXPECT_THAT(problems("top: {groups: [{match: a}, {match: [b]}]}"),
              ElementsAre(HasSubstr("f.yaml:1:36: top.groups.1.match: is a list; legal: text")));
}

TEST_F(TableRows, AreListsOfMaps) {
  const std::string legal = "; legal: list of maps, each a map of match, factor, shape";
  EXPECT_THAT(problems("top: {groups: 3}"),
              ElementsAre(HasSubstr("f.yaml:1:15: top.groups: \"3\" is one value" + legal)));
  EXPECT_THAT(problems("top: {groups: {match: a}}"),
              ElementsAre(HasSubstr("f.yaml:1:15: top.groups: is a map" + legal)));
  EXPECT_THAT(problems("top:\n  groups:\n"),
              ElementsAre(HasSubstr("f.yaml:2:3: top.groups: has no value" + legal)));
  EXPECT_THAT(problems("top: {groups: [{match: a}, ]}\n"), IsEmpty());
  EXPECT_THAT(
      problems("top:\n  groups:\n    - match: a\n    -\n    - [b]\n    - c\n    - !t d\n"),
      ElementsAre(HasSubstr("f.yaml:7:7: a tag"),
                  HasSubstr("f.yaml:2:3: top.groups.1: has no value; legal: a map of match, "
                            "factor, shape"),
                  HasSubstr("f.yaml:5:7: top.groups.2: is a list; legal: a map of match"),
                  HasSubstr("f.yaml:6:7: top.groups.3: \"c\" is one value; legal: a map of")));
  ASSERT_THAT(problems("top: {groups: []}"), IsEmpty());
  EXPECT_THAT(options_.groups, IsEmpty());
  EXPECT_THAT(printed(), Not(HasSubstr("groups")));
}

TEST_F(TableRows, AreOverriddenKeyByKey) {
  const ReadResult result = read(kTwoGroups, {"top.groups.0.factor=4", "top.groups.1.match=x",
                                              "top.groups.1.shape.kind=flat"});
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_THAT(result.notes, ElementsAre("top.groups.1.shape.kind=flat drops "
                                        "top.groups.1.shape.slope from the file (line 5)"));
  EXPECT_EQ(options_.groups[0].match, "*.bias");
  EXPECT_EQ(options_.groups[0].factor, 4);
  EXPECT_EQ(options_.groups[1].match, "x");
  EXPECT_EQ(result.provenance.words("top.groups.0.factor"), "override");
  EXPECT_EQ(result.provenance.words("top.groups.0.match"), "f.yaml:3");
  EXPECT_THAT(problems(kTwoGroups, {"top.groups.0={factor: 9}"}), IsEmpty());
  EXPECT_EQ(options_.groups[0].factor, 9);
  EXPECT_EQ(options_.groups[0].match, "*.bias");
}

TEST_F(TableRows, AreOverriddenAsAList) {
  const ReadResult result =
      read(kTwoGroups, {"top.groups=[{match: new}]", "top.groups.0.factor=4"});
  EXPECT_THAT(result.problems, IsEmpty());
  ASSERT_THAT(options_.groups, SizeIs(1));
  EXPECT_EQ(options_.groups[0].match, "new");
  EXPECT_EQ(options_.groups[0].factor, 4);
  EXPECT_EQ(result.provenance.words("top.groups"), "override");
  EXPECT_THAT(problems(kTwoGroups, {"top.groups=[{match: new}]"}), IsEmpty());
  EXPECT_EQ(options_.groups[0].factor, 1) << "the file's first row has 2";
  EXPECT_THAT(problems(kTwoGroups, {"top.groups=[]"}), IsEmpty());
  EXPECT_THAT(options_.groups, IsEmpty());
  EXPECT_THAT(problems("{}", {"top.groups=[{factor: 1}]"}),
              ElementsAre("override 1: top.groups=[{factor: 1}]: top.groups.0: match is missing: "
                          "pattern; text"));
}

TEST_F(TableRows, OverridesOfRowsThatAreNotThere) {
  EXPECT_THAT(problems(kTwoGroups, {"top.groups.2.factor=4"}),
              ElementsAre("override 1: top.groups.2.factor=4: top.groups.2: no such row; legal: "
                          "top.groups.0 to top.groups.1"));
  for (const std::string index : {"2", "00", "-1", "x", ""}) {
    EXPECT_THAT(problems(kTwoGroups, {"top.groups." + index + "={factor: 4}"}),
                ElementsAre(HasSubstr("no such row; legal: top.groups.0 to top.groups.1")))
        << index;
  }
  EXPECT_THAT(problems("top: {}", {"top.groups.0.factor=4"}),
              ElementsAre(HasSubstr("top.groups.0: the list has no rows; legal: "
                                    "top.groups=[{...}]")));
  EXPECT_THAT(
      problems(kTwoGroups, {"top.groups.0.factor=4", "top.groups=[{match: a}]"}),
      ElementsAre(HasSubstr("override 2: top.groups=[{match: a}]: would replace the list of "
                            "which override 1 gives a part")));
  EXPECT_THAT(problems(kTwoGroups, {"top.groups=[]", "top.groups=[]"}),
              ElementsAre(HasSubstr("is given twice on the command line; first in override 1")));
  EXPECT_THAT(problems(kTwoGroups, {"top.groups=[{match: a}]", "top.groups.0.match=b"}),
              ElementsAre(HasSubstr("top.groups.0.match=b: is given twice")));
}

TEST_F(TableRows, BelongToKinds) {
  const std::string list = "top:\n  kind: list\n  pieces:\n    - {kind: steep, slope: 2}\n";
  EXPECT_THAT(problems("top: {pieces: [{kind: steep, slope: 2}]}"),
              ElementsAre(HasSubstr("f.yaml:1:7: top.pieces: belongs to top.kind list; here "
                                    "top.kind is flat")));
  const ReadResult result = read(list, {"top.kind=flat"});
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_THAT(result.notes, ElementsAre("top.kind=flat drops top.pieces from the file (line 3)"));
  EXPECT_THAT(options_.pieces, IsEmpty());
  EXPECT_THAT(problems(list, {"top.kind=flat", "top.pieces.0.slope=3"}),
              ElementsAre(HasSubstr("f.yaml:3:3: top.pieces: belongs to top.kind list")));
  // What does not apply is not printed, rows neither.
  options_.kind = 0;
  options_.pieces = {{.kind = 1}};
  table_ = table_of(options_);
  EXPECT_EQ(printed(), "top:\n  kind: flat\n");
  EXPECT_FALSE(applies(table_, *table_.find("top.pieces.0.slope")));
}

TEST_F(TableRows, AreBounded) {
  const auto list = [](size_t rows) {
    std::string text = "[";
    for (size_t i = 0; i < rows; ++i) text += "{kind: list}, ";
    return text + "]";
  };
  EXPECT_THAT(problems("top: {kind: list, pieces: " + list(200) + "}"), IsEmpty());
  EXPECT_THAT(problems("top: {kind: list, pieces: " + list(201) + "}"),
              ElementsAre(HasSubstr("top.pieces: has 201 rows, all lists of maps together 201; "
                                    "legal: at most 200")));
  EXPECT_THAT(
      problems("top: {kind: list, pieces: [{kind: list, pieces: " + list(100) + "},\n" +
               "{kind: list, pieces: " + list(99) + "}]}"),
      ElementsAre(HasSubstr("f.yaml:2:22: top.pieces.1.pieces: has 99 rows, all lists of maps "
                            "together 201")));
  EXPECT_THAT(problems("top: {kind: list, pieces: " + list(150) + "}", {"top.pieces=" + list(150)}),
              IsEmpty());
}

TEST(OptionTableRows, AreKnownBeforeThereAreAny) {
  Options options;
  OptionTable table = table_of(options);
  std::vector<std::string> keys;
  for (const Option& option : table.find("top.pieces")->rows->names()) keys.push_back(option.key);
  EXPECT_THAT(keys, ElementsAre("top.pieces.N.kind", "top.pieces.N.slope", "top.pieces.N.pieces"));
  EXPECT_TRUE(table.find("top.pieces")->set({.scalar = "1"}).has_value());
  table.set_rows("top.pieces", 3);
  EXPECT_THAT(options.pieces, SizeIs(3));
  EXPECT_NE(table.find("top.pieces.2.kind"), nullptr);
  table.set_rows("top.pieces", 1);
  EXPECT_EQ(table.find("top.pieces.1.kind"), nullptr);
  EXPECT_THROW(table.set_rows("top.kind", 1), Error);
}

}  // namespace
}  // namespace largo::config
