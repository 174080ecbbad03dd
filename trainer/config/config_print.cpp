#include "trainer/config/config_print.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "trainer/config/effective.h"
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

using Comment = std::function<std::string(const std::string& key)>;

void print_section(const OptionTable& table, const std::string& section, size_t indent,
                   const Comment& comment, std::vector<Line>& lines);

// A list of maps, one "- " for each row.
void print_rows(const OptionTable& table, const Option& list, size_t indent, const Comment& comment,
                std::vector<Line>& lines) {
  for (size_t i = 0; i < list.rows->count(); ++i) {
    std::vector<Line> row;
    print_section(table, concat(list.key, '.', i), indent + 2, comment, row);
    if (row.empty()) row.push_back({std::string(indent, ' ') + "  {}", ""});
    row.front().text[indent] = '-';
    lines.insert(lines.end(), row.begin(), row.end());
  }
}

// One level of sections: the keys below `section`, in the table's order, each section in one piece.
void print_section(const OptionTable& table, const std::string& section, size_t indent,
                   const Comment& comment, std::vector<Line>& lines) {
  std::vector<std::string> seen;
  const std::string margin(indent, ' ');
  for (const Option& option : table.options()) {
    if (!is_below(option.key, section)) continue;
    const size_t begin = section.empty() ? 0 : section.size() + 1;
    const size_t dot = option.key.find('.', begin);
    const std::string name = option.key.substr(begin, dot - begin);
    if (option.rows && dot == std::string::npos) {
      seen.push_back(name);  // whose rows follow in the table
      if (option.rows->count() == 0 || !applies(table, option)) continue;
      lines.push_back({margin + name + ":", comment(option.key)});
      print_rows(table, option, indent + 2, comment, lines);
      continue;
    }
    if (dot == std::string::npos) {
      if (const auto text = value_text(table, option)) {
        lines.push_back({margin + name + ": " + *text, comment(option.key)});
      }
      continue;
    }
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) continue;
    seen.push_back(name);
    std::vector<Line> inner;
    print_section(table, join_path(section, name), indent + 2, comment, inner);
    if (inner.empty()) continue;
    lines.push_back({margin + name + ":", ""});
    lines.insert(lines.end(), inner.begin(), inner.end());
  }
}

// Value of everything that alters the trajectory, by key; nothing for a key without a value.
struct Trajectory {
  std::vector<std::string> keys;  // in the table's order
  std::map<std::string, std::optional<std::string>> values = {};
};

Trajectory trajectory(const RunConfig& config) {
  RunConfig copy = config;
  const OptionTable table = make_table(copy);
  Trajectory result;
  for (const Option& option : table.options()) {
    if (option.info.effect != Effect::kTrajectory) continue;
    result.keys.push_back(option.key);
    std::optional<std::string>& value = result.values[option.key];
    value = value_text(table, option);
    if (option.rows && option.rows->count() > 0 && applies(table, option)) {
      value = concat(option.rows->count(), option.rows->count() == 1 ? " row" : " rows");
    }
  }
  return result;
}

}  // namespace

std::string print_table(const OptionTable& table,
                        const std::function<std::string(const std::string&)>& comment) {
  std::vector<Line> lines;
  print_section(table, "", 0, comment, lines);
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

std::string print_config(const LoadedConfig& config, std::optional<int64_t> ranks) {
  RunConfig copy = config.values;
  const OptionTable table = make_table(copy);
  return print_table(table, [&](const std::string& key) {
    const std::string effective = effective_words(config.values, *table.find(key), ranks);
    const std::string origin = config.provenance.words(key);
    return effective.empty() ? origin : concat(origin, "; ", effective);
  });
}

std::string config_hash(const RunConfig& config) {
  uint64_t hash = 0xcbf29ce484222325;
  const Trajectory of_config = trajectory(config);
  for (const std::string& key : of_config.keys) {
    const auto& value = of_config.values.at(key);
    if (!value) continue;
    for (const char c : key + "=" + *value + "\n") {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
  }
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(hash));
  return digits.data();
}

std::vector<KeyChange> trajectory_changes(const RunConfig& before, const RunConfig& after) {
  const Trajectory old_run = trajectory(before);
  const Trajectory new_run = trajectory(after);
  std::vector<std::string> keys = old_run.keys;
  for (const std::string& key : new_run.keys) {  // of rows that only one of them has
    if (!old_run.values.contains(key)) keys.push_back(key);
  }
  const auto value_of = [](const Trajectory& run, const std::string& key) {
    const auto found = run.values.find(key);
    return found == run.values.end() ? std::nullopt : found->second;
  };
  std::vector<KeyChange> changes;
  for (const std::string& key : keys) {
    KeyChange change = {key, value_of(old_run, key), value_of(new_run, key)};
    if (change.before != change.after) changes.push_back(std::move(change));
  }
  return changes;
}

std::vector<std::string> trajectory_differences(const RunConfig& before, const RunConfig& after) {
  std::vector<std::string> differences;
  for (const KeyChange& change : trajectory_changes(before, after)) {
    differences.push_back(concat(change.key, ": ", change.before.value_or("not given"), " -> ",
                                 change.after.value_or("not given")));
  }
  return differences;
}

}  // namespace largo::config
