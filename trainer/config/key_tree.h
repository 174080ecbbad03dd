// The keys of a table as the tree that files write them in, and what a wrong key may have meant.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/option_table.h"

namespace largo::config {

// "lr" + "base" -> "lr.base"; the root's path is empty.
std::string join_path(const std::string& parent, const std::string& name);
std::string parent_path(const std::string& path);
std::string last_name(const std::string& path);
bool is_below(std::string_view path, std::string_view section);

// "lr.policy.pieces.1" of any key below it: the outermost row of a list of maps; else empty.
std::string outer_row(const std::string& key);

// The list of maps that an option of a row belongs to, the innermost; nullptr for others.
const Option* enclosing_list(const OptionTable& table, const std::string& key);
// "a map of match, lr_factor": what a row of the list may be.
std::string words_of_row(const Option& list);

struct UnknownKey {
  std::string message;  // what is legal there, or which key was meant
  std::string meant;    // full path; empty where nothing is near
};

class KeyTree {
 public:
  explicit KeyTree(const OptionTable& table);

  // Whether keys lie below the path.
  bool is_section(const std::string& path) const { return children_.contains(path); }
  // "a map of kind, groups, momentum"
  std::string words_of_section(const std::string& path) const;
  // For a name that is neither key nor section below `section`. The `hidden` paths, of other kinds
  // than the section's, are not proposed.
  UnknownKey unknown(const std::string& section, const std::string& name,
                     const std::set<std::string>& hidden = {}) const;

 private:
  std::map<std::string, std::vector<std::string>> children_;  // by section, in the table's order
};

}  // namespace largo::config
