#include "trainer/config/key_tree.h"

#include <algorithm>
#include <optional>

#include "comm/base/error.h"
#include "comm/base/suggest.h"
#include "trainer/config/diagnostic.h"

namespace largo::config {

namespace {

constexpr size_t kMaxHintedName = 40;  // longer names are no misspelt keys

std::string joined(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

// The one name that begins with `name`, as epsilon does with eps.
std::optional<std::string> only_longer(const std::string& name,
                                       const std::vector<std::string>& names) {
  constexpr size_t kFewest = 3;
  std::optional<std::string> found;
  for (const std::string& longer : names) {
    if (name.size() < kFewest || !longer.starts_with(name)) continue;
    if (found) return std::nullopt;
    found = longer;
  }
  return found;
}

}  // namespace

std::string join_path(const std::string& parent, const std::string& name) {
  return parent.empty() ? name : parent + "." + name;
}

std::string parent_path(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? std::string() : path.substr(0, dot);
}

std::string last_name(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? path : path.substr(dot + 1);
}

bool is_below(std::string_view path, std::string_view section) {
  return section.empty() ||
         (path.starts_with(section) && path.size() > section.size() && path[section.size()] == '.');
}

std::string outer_row(const std::string& key) {
  for (size_t begin = 0; begin < key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    if (key.find_first_not_of("0123456789", begin) >= end) return key.substr(0, end);
    begin = end + 1;
  }
  return {};
}

const Option* enclosing_list(const OptionTable& table, const std::string& key) {
  for (std::string row = parent_path(key); !row.empty(); row = parent_path(row)) {
    if (last_name(row).find_first_not_of("0123456789") != std::string::npos) continue;
    const Option* option = table.find(parent_path(row));
    if (option != nullptr && option->rows) return option;
  }
  return nullptr;
}

std::string words_of_row(const Option& list) {
  std::vector<std::string> names;
  for (const Option& option : list.rows->names()) {
    const size_t begin = list.key.size() + 3;  // after "<key>.N."
    const std::string name = option.key.substr(begin, option.key.find('.', begin) - begin);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return "a map of " + joined(names, ", ");
}

KeyTree::KeyTree(const OptionTable& table) {
  children_[""] = {};
  for (const Option& option : table.options()) {
    for (std::string path = option.key; !path.empty(); path = parent_path(path)) {
      std::vector<std::string>& names = children_[parent_path(path)];
      if (std::find(names.begin(), names.end(), last_name(path)) == names.end()) {
        names.push_back(last_name(path));
      }
    }
  }
}

std::string KeyTree::words_of_section(const std::string& path) const {
  return "a map of " + joined(children_.at(path), ", ");
}

UnknownKey KeyTree::unknown(const std::string& section, const std::string& name,
                            const std::set<std::string>& hidden) const {
  std::vector<std::string> here;
  std::vector<std::string> of_other_kinds;
  for (const std::string& child : children_.at(section)) {
    (hidden.contains(join_path(section, child)) ? of_other_kinds : here).push_back(child);
  }
  const std::string legal = "unknown key; legal here: " + joined(here, ", ");
  if (name.size() > kMaxHintedName) return {legal, {}};
  if (const auto near = nearest(name, here)) {
    return {"unknown key; did you mean " + *near + "?", join_path(section, *near)};
  }
  if (const auto longer = only_longer(name, here)) {
    return {"unknown key; did you mean " + *longer + "?", join_path(section, *longer)};
  }
  if (nearest(name, of_other_kinds)) return {legal, {}};
  std::vector<std::string> all;
  for (const auto& [path, names] : children_) {
    for (const std::string& child : names) all.push_back(join_path(path, child));
  }
  const std::string path = join_path(section, name);
  if (std::find(all.begin(), all.end(), path) != all.end()) {
    return {"unknown key; in a file a dot is written as a map: " + parent_path(name) + ": {" +
                last_name(name) + ": ...}",
            path};
  }
  // The same name elsewhere, then a similar one; below the section if it is there too.
  for (const bool exact : {true, false}) {
    std::vector<std::string> found;
    for (const std::string& path : all) {
      const std::string last = last_name(path);
      if (exact ? last == name : last.size() > 4 && edit_distance(name, last) <= 2) {
        found.push_back(path);
      }
    }
    if (std::any_of(found.begin(), found.end(), [&](const std::string& path) {
          return !section.empty() && is_below(path, section);
        })) {
      std::erase_if(found, [&](const std::string& path) { return !is_below(path, section); });
    }
    std::sort(found.begin(), found.end());
    if (!found.empty() && found.size() <= 3) {
      return {"unknown key; did you mean " + joined(found, " or ") + "?", found.front()};
    }
  }
  return {legal, {}};
}

}  // namespace largo::config
