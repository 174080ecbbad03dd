#include "trainer/config/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "trainer/config/text_check.h"

namespace largo::config {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = YamlNode::Kind;

YamlTree parse(const std::string& bytes) { return parse_yaml({"f.yaml", bytes}); }

// The text of the only problem.
std::string problem(const std::string& bytes) {
  const YamlTree tree = parse(bytes);
  EXPECT_THAT(tree.problems, SizeIs(1)) << bytes;
  return tree.problems.empty() ? "" : tree.problems[0].text();
}

TEST(YamlTree, KeepsOrderKindsAndPositions) {
  const YamlTree tree = parse("# comment\nb:\n  - 1\n  - [x, 'y']\na: {c: ~, d: \"q\"}\n");
  ASSERT_THAT(tree.problems, IsEmpty());
  ASSERT_EQ(tree.root.kind, Kind::kMap);
  ASSERT_THAT(tree.root.items, SizeIs(2));

  const YamlNode& b = tree.root.items[0];
  EXPECT_EQ(b.key, "b");
  EXPECT_EQ(b.key_at.line, 2);
  EXPECT_EQ(b.key_at.column, 1);
  EXPECT_TRUE(b.block);
  ASSERT_THAT(b.items, SizeIs(2));
  EXPECT_EQ(b.items[0].text, "1");
  EXPECT_EQ(b.items[0].at.line, 3);
  EXPECT_EQ(b.items[0].at.column, 5);
  EXPECT_FALSE(b.items[0].quoted);
  EXPECT_FALSE(b.items[1].block);
  EXPECT_TRUE(b.items[1].items[1].quoted);

  const YamlNode& a = tree.root.items[1];
  ASSERT_THAT(a.items, SizeIs(2));
  EXPECT_EQ(a.items[0].kind, Kind::kNull);
  EXPECT_EQ(a.items[1].text, "q");
  EXPECT_TRUE(a.items[1].quoted);
}

TEST(YamlTree, TakesWindowsLineEnds) {
  const YamlTree tree = parse("a: 1\r\nb: 2\r\n");
  ASSERT_THAT(tree.problems, IsEmpty());
  EXPECT_EQ(tree.root.items[1].text, "2");
}

TEST(YamlTree, ShowsTheLineAndACaret) {
  EXPECT_EQ(problem("a: 1\nb: {c: *x}\n"),
            "f.yaml:2:8: not YAML: the referenced anchor is not defined\n"
            "  b: {c: *x}\n"
            "         ^");
  // Characters, not bytes, are counted.
  EXPECT_EQ(problem("ä: {ö: &x 1}\n"),
            "f.yaml:1:8: an anchor (&); legal: the value written out where it is used\n"
            "  ä: {ö: &x 1}\n"
            "         ^");
}

TEST(YamlTree, CutsLongLines) {
  const std::string text =
      problem("[" + std::string(5000, ' ') + "&x 1," + std::string(5000, ' ') + "]");
  EXPECT_THAT(text, HasSubstr("f.yaml:1:5002: an anchor"));
  EXPECT_LT(text.size(), 400u);
  const size_t caret = text.rfind('^') - text.rfind('\n');
  const size_t line = text.find('\n');
  EXPECT_EQ(text[line + caret], '&');
}

TEST(YamlTree, RefusesDuplicateKeys) {
  const YamlTree tree = parse("lr: 0.1\nx: {a: 1, b: 2, a: 3}\nlr: 0.2\n");
  ASSERT_THAT(tree.problems, SizeIs(2));
  EXPECT_THAT(tree.problems[0].text(),
              HasSubstr("f.yaml:2:17: the key \"a\" is given twice; first on line 2"));
  EXPECT_THAT(tree.problems[1].text(),
              HasSubstr("f.yaml:3:1: the key \"lr\" is given twice; first on line 1"));
  EXPECT_TRUE(tree.complete);
  EXPECT_EQ(tree.root.items[0].text, "0.1");
}

TEST(YamlTree, RefusesWhatIsNotPlainData) {
  EXPECT_THAT(problem("a: !!float 1"), HasSubstr(":1:4: a tag (!)"));
  EXPECT_THAT(problem("a: ! 1"), HasSubstr("a tag (!)"));
  EXPECT_THAT(problem("a: !!map {b: 1}"), HasSubstr("a tag (!)"));
  EXPECT_THAT(problem("a: !x [1]"), HasSubstr("a tag (!)"));
  EXPECT_THAT(problem("<<: {a: 1}"), HasSubstr("a merge key (<<)"));
  EXPECT_THAT(problem("? [a, b]\n: 1"), HasSubstr("a list or map as a key"));
  EXPECT_THAT(problem("{a: 1}: 2"), HasSubstr("a list or map as a key"));
  EXPECT_THAT(problem("a: 1\n: 2"), HasSubstr("a value without a key"));
  EXPECT_THAT(problem("a: \"b"), HasSubstr("not YAML"));
  EXPECT_THAT(problem("a: \"b\n  c\""), HasSubstr(":1:4: the quote that opens here"));
  EXPECT_THAT(problem("a: 1\n---\nb: 2\n"), HasSubstr("more text after the end of the document"));
  EXPECT_THAT(parse("a: &x [*x]").problems, SizeIs(2));
}

TEST(YamlTree, QuotesMayHoldQuotes) {
  const YamlTree tree = parse("{a: 'it''s', b: \"a \\\" b\", c: '', d: \"\\\\\"}");
  ASSERT_THAT(tree.problems, IsEmpty());
  EXPECT_EQ(tree.root.items[0].text, "it's");
  EXPECT_EQ(tree.root.items[1].text, "a \" b");
  EXPECT_EQ(tree.root.items[3].text, "\\");
}

TEST(YamlTree, RefusesDepth) {
  for (const std::string open : {"[", "{a: ", "- ", "? "}) {
    for (const int depth : {17, 600, 100000}) {
      std::string text;
      for (int i = 0; i < depth; ++i) text += open;
      EXPECT_THAT(problem(text), HasSubstr("nested deeper than 16 levels")) << open << depth;
    }
  }
  EXPECT_THAT(parse(std::string(16, '[') + std::string(16, ']')).problems, IsEmpty());
}

TEST(YamlTree, EndsWhereYamlCppDoesNot) {
  EXPECT_THAT(problem(","), HasSubstr("f.yaml:1:1: more text after the end of the document"));
  EXPECT_FALSE(parse(",").complete);
}

TEST(YamlTree, AfterASyntaxErrorKeepsWhatWasComplete) {
  const YamlTree tree = parse("a: {b: 1}\nc: {d: 1\ne: 2\n");
  EXPECT_THAT(tree.problems, SizeIs(1));
  EXPECT_FALSE(tree.complete);
  ASSERT_THAT(tree.root.items, SizeIs(1));
  EXPECT_EQ(tree.root.items[0].key, "a");
  EXPECT_THAT(parse("a: b: 1\n").root.items, IsEmpty());
}

TEST(YamlTree, StopsAtAHundredProblems) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "a: 1\n";
  const YamlTree tree = parse(text);
  EXPECT_THAT(tree.problems, SizeIs(kMaxProblems));
  EXPECT_FALSE(tree.complete);
}

TEST(TextCheck, RefusesWhatIsNotText) {
  EXPECT_THAT(problem("\xff\xfe a"), HasSubstr("f.yaml:1:1: the file is UTF-16; legal: UTF-8"));
  EXPECT_THAT(problem("\xef\xbb\xbf a: 1"), HasSubstr("byte-order mark"));
  EXPECT_THAT(problem(std::string("a: 1\nb\0: 2", 10)),
              HasSubstr("f.yaml:2:2: the file holds a NUL byte"));
  EXPECT_THAT(problem("a: \x04"), HasSubstr(":1:4: the control character 0x04"));
  EXPECT_THAT(problem("a: \x1b[31m"), HasSubstr("the control character 0x1b"));
  EXPECT_THAT(problem("a: 1\rb: 2"), HasSubstr("a carriage return without a line feed"));
  EXPECT_THAT(problem("a:\n  \tb: 1"), HasSubstr(":2:3: a tab in the indentation; legal: spaces"));
  EXPECT_THAT(problem("a: m\xfcller"), HasSubstr(":1:5: the byte 0xfc is not UTF-8 here"));
  for (const std::string bad : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80",
                                "\xf0\x80\x80\x80", "\xe2\x82", "\x80", "\xf5\x80\x80\x80"}) {
    EXPECT_THAT(problem("a: " + bad), HasSubstr("is not UTF-8 here"));
  }
  EXPECT_FALSE(check_text("ä € 😀 \t\r\n", kMaxSourceBytes));
  // What is not text does not reach the terminal.
  EXPECT_THAT(problem("a: \x1b[31m"), HasSubstr("  a: ?[31m\n"));
}

TEST(TextCheck, RefusesLargeFiles) {
  const std::string largest = "# " + std::string(kMaxSourceBytes - 2, 'x');
  EXPECT_THAT(parse(largest).problems, IsEmpty());
  EXPECT_THAT(problem(largest + "x"),
              HasSubstr("the file holds 1048577 bytes; legal: at most 1048576"));
}

}  // namespace
}  // namespace largo::config
