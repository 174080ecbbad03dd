#include "trainer/config/given_values.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace largo::config {

namespace {

constexpr size_t kMaxValueBytes = 4096;

std::string legal_words(const Option& option) {
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

class Collector {
 public:
  Collector(const OptionTable& table, const KeyTree& keys, const SourceText& file,
            const std::vector<std::string>& overrides)
      : table_(table), keys_(keys), file_(file), lines_(file), overrides_(overrides) {}

  GivenValues collect() {
    collect_file();
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
      if (const Option* option = table_.find(path)) {
        return problem(path, {}, "has no keys of its own; legal: " + legal_words(*option));
      }
      if (!keys_.is_section(path)) return unknown(section, name, {});
      section = path;
      begin = dot + 1;
    }
  }

  void visit_map(const std::string& section, const YamlNode& map) {
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
            concat(node.kind == Kind::kNull   ? "has no value"
                   : node.kind == Kind::kList ? "is a list"
                                              : concat('"', shown(node.text), "\" is one value"),
                   "; legal: ", keys_.words_of_section(path)));
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
    const UnknownKey hint = keys_.unknown(section, name);
    if (!hint.meant.empty()) given_.refused.insert(hint.meant);
    refuse(join_path(section, shown(name)), at, hint.message);
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

  const OptionTable& table_;
  const KeyTree& keys_;
  const SourceText& file_;
  const SourceLines lines_;
  const std::vector<std::string>& overrides_;
  int override_number_ = 0;  // 0: in the file
  GivenValues given_;
};

}  // namespace

GivenValues collect_given(const OptionTable& table, const KeyTree& keys, const SourceText& file,
                          const std::vector<std::string>& overrides) {
  return Collector(table, keys, file, overrides).collect();
}

}  // namespace largo::config
