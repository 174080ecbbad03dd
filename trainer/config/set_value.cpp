#include "trainer/config/set_value.h"

#include <cstddef>
#include <string_view>

#include "comm/base/error.h"
#include "trainer/config/yaml_tree.h"

namespace largo::config {

namespace {

using Kind = YamlNode::Kind;

size_t offset_of(const SourceText& file, Position at) {
  const std::string_view line = SourceLines(file).line(at.line);
  return static_cast<size_t>(line.data() - file.bytes.data()) + static_cast<size_t>(at.column) - 1;
}

const YamlNode* child(const YamlNode& map, const std::string& name) {
  for (const YamlNode& item : map.items) {
    if (item.key == name) return &item;
  }
  return nullptr;
}

// "policy.k1", "3" -> "policy: {k1: 3}"
std::string entry(const std::string& path, const std::string& value) {
  const size_t dot = path.find('.');
  if (dot == std::string::npos) return concat(path, ": ", value);
  return concat(path.substr(0, dot), ": {", entry(path.substr(dot + 1), value), "}");
}

// An entry put before the map's first one: on a line of its own, or within the brackets.
std::string with_entry(const SourceText& file, const YamlNode& map, const std::string& added) {
  std::string text = file.bytes;
  if (map.items.empty()) {  // {}
    return text.insert(offset_of(file, map.at) + 1, added);
  }
  const Position at = map.items.front().key_at;
  const std::string indent(static_cast<size_t>(at.column) - 1, ' ');
  return text.insert(offset_of(file, at), added + (map.block ? "\n" + indent : ", "));
}

}  // namespace

std::string with_value(const SourceText& file, const std::string& key, const std::string& value) {
  const YamlTree tree = parse_yaml(file);
  const YamlNode* node = &tree.root;
  std::string rest = key;
  while (node->kind == Kind::kMap && !rest.empty()) {
    const size_t dot = rest.find('.');
    const YamlNode* next = child(*node, rest.substr(0, dot));
    if (next == nullptr) return with_entry(file, *node, entry(rest, value));
    node = next;
    rest = dot == std::string::npos ? "" : rest.substr(dot + 1);
  }
  if (node->kind != Kind::kScalar || node->quoted) {
    fail(ExitCode::kConfig, shown(file.name), ": ", key, " cannot be set: line ", node->at.line,
         " holds no plain value for it");
  }
  std::string text = file.bytes;
  const std::string now =
      rest.empty() ? value : concat("{kind: ", node->text, ", ", entry(rest, value), "}");
  return text.replace(offset_of(file, node->at), node->text.size(), now);
}

}  // namespace largo::config
