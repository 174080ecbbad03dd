#include "trainer/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>

#include "trainer/config/text_check.h"

namespace largo::config {

namespace {

struct Abort {};  // leaves the parser once going on makes no sense; the problem is recorded

// Builds the tree from the parser's events and refuses what the strict subset leaves out. Works
// on a stack of its own, so nothing recurses but yaml-cpp, which guards its depth.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const SourceLines& lines, YamlTree& tree) : lines_(lines), tree_(tree) {}

  void problem(Position at, std::string message) {
    tree_.problems.push_back(lines_.diagnostic(at, {}, std::move(message)));
    if (tree_.problems.size() >= kMaxProblems) throw Abort();
  }

  // Inside the text, whatever the parser says.
  Position position(const YAML::Mark& mark) const {
    const int line = std::clamp(mark.line + 1, 1, lines_.size());
    return {line, std::clamp(mark.column, 0, static_cast<int>(lines_.line(line).size())) + 1};
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ == 1) return;
    problem(position(mark), "more text after the end of the document; legal: one YAML document");
    throw Abort();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const Position at = position(mark);
    add({.kind = refuse_properties(at, anchor, "") ? Kind::kRefused : Kind::kNull, .at = at});
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    const Position at = position(mark);
    problem(at, "an alias (*); legal: the value written out");
    add({.kind = Kind::kRefused, .at = at});
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const Position at = position(mark);
    YamlNode node{.kind = Kind::kScalar, .at = at, .text = value, .quoted = tag == "!"};
    if (refuse_properties(at, anchor, tag) || refuse_open_quote(at)) node.kind = Kind::kRefused;
    add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    open(Kind::kList, mark, tag, anchor, style);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    open(Kind::kMap, mark, tag, anchor, style);
  }
  void OnMapEnd() override { close(); }

  // After a syntax error: keeps the root's entries that were complete before it. A last scalar may
  // be half of what was meant ("lr: base: 0.1").
  void keep_closed_entries() {
    if (!stack_.empty() && stack_.front().node.kind == Kind::kMap) {
      tree_.root = std::move(stack_.front().node);
      std::vector<YamlNode>& entries = tree_.root.items;
      if (!entries.empty() && entries.back().kind == Kind::kScalar) entries.pop_back();
    }
  }

 private:
  using Kind = YamlNode::Kind;

  struct Frame {
    YamlNode node;
    bool has_key = false;   // of a map: a key was read, its value is next
    bool drop_key = false;  // that key was refused: forget its value too
    std::string key;
    Position key_at;
    std::map<std::string, int> key_lines;
  };

  std::string_view rest_of_line(Position at) const {
    return lines_.line(at.line).substr(static_cast<size_t>(at.column) - 1);
  }

  // "?" is yaml-cpp's tag of plain scalars and collections, "!" that of quoted scalars, but also
  // one that can be written; a written one is where the node starts.
  bool refuse_properties(Position at, YAML::anchor_t anchor, const std::string& tag) {
    const bool tagged = rest_of_line(at).starts_with('!');
    if (anchor != YAML::NullAnchor) {
      problem(at, "an anchor (&); legal: the value written out where it is used");
    } else if (tagged || (!tag.empty() && tag != "?" && tag != "!")) {
      problem(at, "a tag (!); legal: plain values, whose type follows from the key");
    } else {
      return false;
    }
    return true;
  }

  // A quote that runs on swallows the keys below it.
  bool refuse_open_quote(Position at) {
    const std::string_view text = rest_of_line(at);
    if (text.empty() || (text[0] != '"' && text[0] != '\'')) return false;
    for (size_t i = 1; i < text.size(); ++i) {
      if (text[0] == '"' && text[i] == '\\') {
        ++i;
      } else if (text[i] == text[0]) {
        if (text[0] == '"' || i + 1 == text.size() || text[i + 1] != '\'') return false;
        ++i;
      }
    }
    problem(at, "the quote that opens here is not closed on its line");
    return true;
  }

  void open(Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YAML::EmitterStyle::value style) {
    const Position at = position(mark);
    refuse_properties(at, anchor, tag);
    if (stack_.size() >= kMaxDepth) {
      problem(at, concat("nested deeper than ", kMaxDepth, " levels"));
      throw Abort();
    }
    Frame& frame = stack_.emplace_back();
    frame.node.kind = kind;
    frame.node.at = at;
    frame.node.block = style != YAML::EmitterStyle::Flow;
  }

  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (stack_.empty()) {
      tree_.root = std::move(node);
      return;
    }
    Frame& frame = stack_.back();
    if (frame.node.kind == Kind::kList) {
      frame.node.items.push_back(std::move(node));
    } else if (frame.has_key) {
      if (!frame.drop_key) {
        node.key = std::move(frame.key);
        node.key_at = frame.key_at;
        frame.node.items.push_back(std::move(node));
      }
      frame.has_key = false;
    } else {
      add_key(frame, std::move(node));
    }
  }

  void add_key(Frame& frame, YamlNode node) {
    frame.has_key = true;
    frame.drop_key = true;
    frame.key_at = node.at;
    if (node.kind != Kind::kScalar || node.text == "<<") frame.node.lost_keys = true;
    switch (node.kind) {
      case Kind::kRefused:
        return;
      case Kind::kNull:
        return problem(node.at, "a value without a key; legal: key: value");
      case Kind::kList:
      case Kind::kMap:
        return problem(node.at, "a list or map as a key; legal: a name");
      case Kind::kScalar:
        break;
    }
    if (node.text == "<<") {
      return problem(node.at, "a merge key (<<); legal: the keys written out");
    }
    const auto [first, is_new] = frame.key_lines.emplace(node.text, node.at.line);
    if (!is_new) {
      return problem(node.at, concat("the key \"", shown(node.text),
                                     "\" is given twice; first on line ", first->second));
    }
    frame.drop_key = false;
    frame.key = std::move(node.text);
  }

  const SourceLines& lines_;
  YamlTree& tree_;
  std::vector<Frame> stack_;
  int documents_ = 0;
};

// yaml-cpp's words, with what is behind them most often.
std::string syntax_message(const std::string& words) {
  struct Hint {
    std::string_view words;
    std::string_view cause;
  };
  const std::array<Hint, 5> hints = {{
      {YAML::ErrorMsg::END_OF_MAP, "is this line indented like its neighbours?"},
      {YAML::ErrorMsg::END_OF_SEQ, "is this line indented like its neighbours?"},
      {YAML::ErrorMsg::END_OF_MAP_FLOW, "a { without its }, or a comma is missing"},
      {YAML::ErrorMsg::END_OF_SEQ_FLOW, "a [ without its ], or a comma is missing"},
      {YAML::ErrorMsg::MAP_VALUE, "two \": \" in one line, or a line indented too far?"},
  }};
  for (const Hint& hint : hints) {
    if (hint.words == words) return concat("not YAML: ", words, " (", hint.cause, ")");
  }
  return concat("not YAML: ", words);
}

}  // namespace

YamlTree parse_yaml(const SourceText& source) {
  YamlTree tree;
  const SourceLines lines(source);
  if (const auto wrong = check_text(source.bytes, kMaxSourceBytes)) {
    Diagnostic problem = lines.diagnostic(lines.position_of(wrong->offset), {}, wrong->message);
    // What is not text must not reach a terminal.
    std::replace_if(
        problem.source_line.begin(), problem.source_line.end(),
        [](char c) { return c < ' ' || c > '~'; }, '?');
    tree.problems.push_back(std::move(problem));
    tree.complete = false;
    return tree;
  }
  TreeBuilder builder(lines, tree);
  std::istringstream in(source.bytes);
  try {
    YAML::Parser parser(in);
    parser.HandleNextDocument(builder);
    // What follows is refused when it starts, so the endless documents that yaml-cpp 0.7 finds in
    // "," are not read.
    parser.HandleNextDocument(builder);
  } catch (const YAML::Exception& error) {
    tree.problems.push_back(
        lines.diagnostic(builder.position(error.mark), {}, syntax_message(error.msg)));
    tree.complete = false;
    builder.keep_closed_entries();
  } catch (const Abort&) {
    tree.complete = false;
    builder.keep_closed_entries();
  }
  return tree;
}

}  // namespace largo::config
