#include "trainer/config/given_values.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "trainer/config/key_tree.h"

namespace largo::config {

namespace {

constexpr size_t kMaxValueBytes = 4096;

std::string legal_words(const Option& option) {
  if (option.rows) return concat(option.type, ", each ", words_of_row(option));
  return option.type + (option.legal.empty() ? "" : " " + option.legal);
}

bool is_text(const Option& option) {
  const std::string text = OptionCodec<std::string>::kType;
  return option.type == text || option.type == detail::list_type(text);
}

// A number or a boolean, which quotes turn into text.
bool looks_typed(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return text == "true" || text == "false" ||
         (!text.empty() && error == std::errc() && end == text.data() + text.size());
}

// What is wrong with a scalar whatever the option's type and range say of it.
std::optional<std::string> check_scalar(const YamlNode& node, const Option& option) {
  const std::string legal = "; legal: " + legal_words(option);
  if (node.kind == YamlNode::Kind::kNull) return "has no value" + legal;
  if (node.kind == YamlNode::Kind::kMap) return "is a map" + legal;
  if (node.kind == YamlNode::Kind::kList) return "is a list" + legal;
  if (node.text.size() > kMaxValueBytes) {
    return concat("is ", node.text.size(), " bytes long; legal: at most ", kMaxValueBytes);
  }
  if (node.text.find('\n') != std::string::npos) return "holds a line break" + legal;
  if (std::any_of(node.text.begin(), node.text.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
      })) {
    return "holds a control character" + legal;
  }
  if (node.quoted && !is_text(option) && looks_typed(node.text)) {
    return concat('"', node.text, "\" is in quotes, which make it text", legal, ", without quotes");
  }
  return std::nullopt;
}

// What stands where a map or a list should.
std::string what_is(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "has no value";
    case YamlNode::Kind::kList:
      return "is a list";
    case YamlNode::Kind::kMap:
      return "is a map";
    default:
      return concat('"', shown(node.text), "\" is one value");
  }
}

class Collector {
 public:
  Collector(OptionTable& table, const SourceText& file, const std::vector<std::string>& overrides)
      : table_(table), keys_(table), file_(file), lines_(file), overrides_(overrides) {}

  GivenValues collect() {
    collect_file();
    for (const std::string& argument : overrides_) note_kind(argument);
    for (size_t i = 0; i < overrides_.size(); ++i) collect_override(static_cast<int>(i) + 1);
    return std::move(given_);
  }

 private:
  using Kind = YamlNode::Kind;

  void collect_file() {
    YamlTree tree = parse_yaml(file_);
    given_.problems = std::move(tree.problems);
    given_.file_complete = tree.complete;
    given_.sections[""] = {1, 1};
    if (tree.root.kind == Kind::kMap) {
      if (tree.root.lost_keys) given_.file_complete = false;
      visit_map("", tree.root);
    } else if (tree.complete) {
      given_.file_complete = false;
      if (tree.root.kind == Kind::kRefused) return;
      problem("", tree.root.at,
              concat(tree.root.kind == Kind::kNull ? "the file is empty" : "the file is no map",
                     "; legal: ", keys_.words_of_section("")));
    }
  }

  // The kinds that overrides give hold for what all of them say, in whatever order they stand.
  void note_kind(const std::string& argument) {
    const size_t equals = argument.find('=');
    if (equals == std::string::npos) return;
    const std::string key = argument.substr(0, equals);
    const std::string word = argument.substr(equals + 1);
    if (last_name(key) == "kind") kinds_[parent_path(key)] = word;
    if (table_.find(key + ".kind") != nullptr) kinds_[key] = word;
  }

  void collect_override(int number) {
    const std::string& argument = overrides_[static_cast<size_t>(number) - 1];
    const size_t equals = argument.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw AgreedError(ExitCode::kUsage,
                        concat('"', shown(argument),
                               "\" is not an override; legal: key=value, such as lr.base=0.1"));
    }
    override_number_ = number;
    YamlTree tree = parse_yaml({concat("override ", number), argument.substr(equals + 1)});
    const std::string key = argument.substr(0, equals);
    for (const Diagnostic& wrong : tree.problems) refuse(key, {}, wrong.message);
    if (!tree.problems.empty()) return;
    if (tree.root.block) {
      return refuse(key, {}, "is a block; legal: one value, [a, b] or {key: value}");
    }
    visit_dotted(key, tree.root);
  }

  void visit_dotted(const std::string& key, const YamlNode& node) {
    std::string section;
    for (size_t begin = 0;;) {
      const size_t dot = key.find('.', begin);
      const std::string name = key.substr(begin, dot - begin);
      if (dot == std::string::npos) return visit(section, name, {}, node);
      const std::string path = join_path(section, name);
      if (const Option* option = table_.find(path); option != nullptr && !option->rows) {
        return problem(path, {}, "has no keys of its own; legal: " + legal_words(*option));
      }
      if (!keys_.is_section(path) && table_.find(path) == nullptr) {
        return unknown(section, name, {});
      }
      section = path;
      begin = dot + 1;
    }
  }

  void visit_map(const std::string& section, const YamlNode& map) {
    for (const YamlNode& entry : map.items) {
      if (entry.key == "kind" && entry.kind == Kind::kScalar) kinds_[section] = entry.text;
    }
    for (const YamlNode& entry : map.items) {
      if (given_.problems.size() >= kMaxProblems) return;
      visit(section, entry.key, entry.key_at, entry);
    }
  }

  void visit(const std::string& section, const std::string& name, Position key_at,
             const YamlNode& node) {
    const std::string path = join_path(section, name);
    const bool is_one_name = name.find('.') == std::string::npos;
    if (const Option* option = is_one_name ? table_.find(path) : nullptr) {
      visit_option(*option, key_at, node);
    } else if (is_one_name && keys_.is_section(path)) {
      visit_section(path, key_at, node);
    } else {
      unknown(section, name, key_at);
    }
  }

  void visit_section(const std::string& path, Position key_at, const YamlNode& node) {
    if (override_number_ == 0) given_.sections[path] = key_at;
    if (node.kind == Kind::kMap) {
      if (node.lost_keys) given_.refused.insert(path);
      return visit_map(path, node);
    }
    if (node.kind == Kind::kScalar && visit_scalar_for_section(path, key_at, node)) return;
    given_.refused.insert(path);
    if (node.kind == Kind::kRefused) return;
    problem(path, node.kind == Kind::kNull ? key_at : node.at,
            concat(what_is(node), "; legal: ", keys_.words_of_section(path)));
  }

  // One word for a nested section is its kind, if it has one; else "none" is all its defaults.
  bool visit_scalar_for_section(const std::string& path, Position key_at, const YamlNode& node) {
    if (parent_path(path).empty()) return false;
    if (const Option* kind = table_.find(path + ".kind")) {
      visit_option(*kind, key_at, node);
      return true;
    }
    if (node.text != "none") return false;
    std::vector<std::string> below;
    for (const Option& option : table_.options()) {
      if (!is_below(option.key, path)) continue;
      if (option.info.required) return false;
      below.push_back(option.key);
    }
    for (const std::string& key : below) {
      const Option* option = table_.find(key);
      if (option == nullptr) continue;  // of a row that is gone
      if (option->rows && !make_rows(key, node.at, 0)) continue;
      store(key, {.value = {}, .is_default = true, .origin = origin(key_at, node.at)});
    }
    return true;
  }

  void visit_option(const Option& option, Position key_at, const YamlNode& node) {
    GivenValue given{.value = {}, .origin = origin(key_at, node.at)};
    std::optional<std::string> wrong;
    Position wrong_at = node.kind == Kind::kNull ? key_at : node.at;
    if (node.kind == Kind::kRefused) {
      given_.refused.insert(option.key);
      return;
    }
    if (option.rows) {
      if (node.kind == Kind::kList) return visit_rows(option.key, key_at, node);
      return refuse(option.key, wrong_at, concat(what_is(node), "; legal: ", legal_words(option)));
    }
    if (node.kind == Kind::kList && option.is_list) {
      given.value.is_list = true;
      for (size_t i = 0; i < node.items.size() && !wrong; ++i) {
        if (node.items[i].kind == Kind::kRefused) return;
        wrong = check_scalar(node.items[i], option);
        if (wrong) {
          *wrong = concat("item ", i + 1, ' ', *wrong);
          wrong_at = node.items[i].at;
        }
        given.value.items.push_back(node.items[i].text);
      }
    } else {
      wrong = check_scalar(node, option);
      given.value.scalar = node.text;
    }
    if (wrong) return refuse(option.key, wrong_at, *wrong);
    store(option.key, std::move(given));
  }

  // By value: the table changes, and with it the option that holds the key.
  void visit_rows(std::string key, Position key_at, const YamlNode& list) {
    if (!make_rows(key, list.at, list.items.size())) return;
    store(key, {.value = {.is_list = true}, .origin = origin(key_at, list.at)});
    for (size_t i = 0; i < list.items.size() && given_.problems.size() < kMaxProblems; ++i) {
      const YamlNode& row = list.items[i];
      const std::string path = concat(key, '.', i);
      if (override_number_ == 0) given_.sections[path] = row.at;
      if (row.kind != Kind::kMap || row.lost_keys) given_.refused.insert(path);
      if (row.kind == Kind::kMap) {
        visit_map(path, row);
      } else if (row.kind != Kind::kRefused) {
        // The parser says of nothing only where what follows it is.
        problem(path, row.kind == Kind::kNull ? key_at : row.at,
                concat(what_is(row), "; legal: ", words_of_row(*table_.find(key))));
      }
    }
  }

  // New rows for a list of maps, unless they are refused. What the file says of old ones is
  // forgotten.
  bool make_rows(const std::string& key, Position at, size_t count) {
    const std::string rows = key + ".";
    const auto of_row = given_.overrides.lower_bound(rows);
    if (of_row != given_.overrides.end() && of_row->first.starts_with(rows)) {
      refuse(
          key, at,
          concat("would replace the list of which override ", of_row->second.origin.override_number,
                 " gives a part; legal: the list first, and each of its keys once"));
      return false;
    }
    size_t others = 0;
    for (const Option& option : table_.options()) {
      if (option.rows && option.key != key && !is_below(option.key, key)) {
        others += option.rows->count();
      }
    }
    if (count + others > kMaxRows) {
      refuse(key, at,
             concat("has ", count, " rows, all lists of maps together ", count + others,
                    "; legal: at most ", kMaxRows));
      return false;
    }
    std::erase_if(given_.file, [&](const auto& entry) { return entry.first.starts_with(rows); });
    std::erase_if(given_.sections,
                  [&](const auto& entry) { return entry.first.starts_with(rows); });
    table_.set_rows(key, count);
    keys_ = KeyTree(table_);
    return true;
  }

  void store(const std::string& key, GivenValue given) {
    if (override_number_ == 0) {
      given_.file.insert_or_assign(key, std::move(given));
      return;
    }
    const auto [first, is_new] = given_.overrides.emplace(key, std::move(given));
    if (!is_new) {
      refuse(key, {},
             concat("is given twice on the command line; first in override ",
                    first->second.origin.override_number));
    }
  }

  void unknown(const std::string& section, const std::string& name, Position at) {
    const Option* list = table_.find(section);
    if (list != nullptr && list->rows) {
      const size_t count = list->rows->count();
      return refuse(
          join_path(section, shown(name)), at,
          count == 0 ? concat("the list has no rows; legal: ", section, "=[{...}]")
                     : concat("no such row; legal: ", section, ".0 to ", section, '.', count - 1));
    }
    const UnknownKey hint = keys_.unknown(section, name, of_other_kinds(section));
    if (!hint.meant.empty()) given_.refused.insert(hint.meant);
    refuse(join_path(section, shown(name)), at, hint.message);
  }

  // The keys of a section that do not belong to the kind it is given; none where that is not known.
  std::set<std::string> of_other_kinds(const std::string& section) {
    const std::string kind_key = join_path(section, "kind");
    Option* const kind = table_.find(kind_key);
    const auto given = kinds_.find(section);
    if (kind == nullptr || given == kinds_.end()) return {};
    // As the table calls it: the text may be an alias. The reader sets it later, if it is legal.
    const std::optional<std::string> before = kind->text();
    if (!before || kind->set({.scalar = given->second})) return {};
    const std::string word = kind->text().value_or("");
    kind->set({.scalar = *before});
    std::set<std::string> others;
    for (const Option& option : table_.options()) {
      const auto& [key, kinds] = option.info.applies;
      if (key == kind_key && std::find(kinds.begin(), kinds.end(), word) == kinds.end()) {
        others.insert(option.key);
      }
    }
    return others;
  }

  void refuse(const std::string& path, Position at, std::string message) {
    given_.refused.insert(path);
    problem(path, at, std::move(message));
  }

  void problem(const std::string& key, Position at, std::string message) {
    given_.problems.push_back(
        override_number_ == 0
            ? lines_.diagnostic(at, key, std::move(message))
            : override_diagnostic(override_number_,
                                  overrides_[static_cast<size_t>(override_number_) - 1], key,
                                  std::move(message)));
  }

  Origin origin(Position key_at, Position value_at) const {
    if (override_number_ > 0) {
      return {.kind = Origin::Kind::kOverride, .override_number = override_number_};
    }
    return {.kind = Origin::Kind::kFile, .key_at = key_at, .value_at = value_at};
  }

  OptionTable& table_;
  KeyTree keys_;  // of the table as it is
  const SourceText& file_;
  const SourceLines lines_;
  const std::vector<std::string>& overrides_;
  int override_number_ = 0;                   // 0: in the file
  std::map<std::string, std::string> kinds_;  // of sections, as they are given
  GivenValues given_;
};

}  // namespace

GivenValues collect_given(OptionTable& table, const SourceText& file,
                          const std::vector<std::string>& overrides) {
  return Collector(table, file, overrides).collect();
}

}  // namespace largo::config
