#include "trainer/config/config_print.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>

#include "trainer/config/key_tree.h"

namespace largo::config {

namespace {

struct Line {
  std::string text;
  std::string comment;  // empty: none
};

// The value as it is printed, or nothing where the key has none or belongs to another kind. Empty
// text by default is none.
std::optional<std::string> value_text(const OptionTable& table, const Option& option) {
  if (!applies(table, option)) return std::nullopt;
  std::optional<std::string> text = option.text();
  if (text == R"("")" && option.default_text == text) return std::nullopt;
  // YAML takes these words for an absent value.
  constexpr std::array<std::string_view, 3> kNullWords = {"null", "Null", "NULL"};
  if (text && std::find(kNullWords.begin(), kNullWords.end(), *text) != kNullWords.end()) {
    text = concat('"', *text, '"');
  }
  return text;
}

// One level of sections: the keys below `section`, in the table's order, each section in one piece.
void print_section(const OptionTable& table, const std::string& section,
                   const std::function<std::string(const std::string&)>& comment,
                   std::vector<Line>& lines) {
  std::vector<std::string> seen;
  const auto depth = section.empty() ? 0 : 1 + std::count(section.begin(), section.end(), '.');
  const std::string indent(static_cast<size_t>(2 * depth), ' ');
  for (const Option& option : table.options()) {
    if (!is_below(option.key, section)) continue;
    const size_t begin = section.empty() ? 0 : section.size() + 1;
    const size_t dot = option.key.find('.', begin);
    const std::string name = option.key.substr(begin, dot - begin);
    if (dot == std::string::npos) {
      if (const auto text = value_text(table, option)) {
        lines.push_back({indent + name + ": " + *text, comment(option.key)});
      }
      continue;
    }
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) continue;
    seen.push_back(name);
    std::vector<Line> inner;
    print_section(table, join_path(section, name), comment, inner);
    if (inner.empty()) continue;
    lines.push_back({indent + name + ":", ""});
    lines.insert(lines.end(), inner.begin(), inner.end());
  }
}

// Key and value of everything that alters the trajectory; nothing for a key without a value.
std::vector<std::pair<std::string, std::optional<std::string>>> trajectory(
    const RunConfig& config) {
  RunConfig copy = config;
  const OptionTable table = make_table(copy);
  std::vector<std::pair<std::string, std::optional<std::string>>> values;
  for (const Option& option : table.options()) {
    if (option.info.effect == Effect::kTrajectory) {
      values.emplace_back(option.key, value_text(table, option));
    }
  }
  return values;
}

}  // namespace

std::string print_table(const OptionTable& table,
                        const std::function<std::string(const std::string&)>& comment) {
  std::vector<Line> lines;
  print_section(table, "", comment, lines);
  constexpr size_t kMaxAligned = 48;  // longer lines have their comment further right
  size_t width = 0;
  for (const Line& line : lines) {
    if (line.text.size() <= kMaxAligned) width = std::max(width, line.text.size());
  }
  std::string text;
  for (const Line& line : lines) {
    text += line.text;
    if (!line.comment.empty()) {
      text += std::string(width - std::min(width, line.text.size()) + 2, ' ') + "# " + line.comment;
    }
    text += '\n';
  }
  return text;
}

std::string print_config(const LoadedConfig& config) {
  RunConfig copy = config.values;
  return print_table(make_table(copy),
                     [&](const std::string& key) { return config.provenance.words(key); });
}

std::string config_hash(const RunConfig& config) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const auto& [key, value] : trajectory(config)) {
    if (!value) continue;
    for (const char c : key + "=" + *value + "\n") {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
  }
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(hash));
  return digits.data();
}

std::vector<std::string> trajectory_differences(const RunConfig& before, const RunConfig& after) {
  const auto old_values = trajectory(before);
  const auto new_values = trajectory(after);
  LARGO_CHECK(old_values.size() == new_values.size(), "two tables of one program differ");
  std::vector<std::string> differences;
  for (size_t i = 0; i < old_values.size(); ++i) {
    const auto& [key, old_value] = old_values[i];
    const auto& new_value = new_values[i].second;
    if (old_value != new_value) {
      differences.push_back(concat(key, ": ", old_value.value_or("not given"), " -> ",
                                   new_value.value_or("not given")));
    }
  }
  return differences;
}

}  // namespace largo::config
