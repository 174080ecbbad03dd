#include "trainer/optim/parameter_groups.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

std::string key_of(size_t group, const char* name) {
  return concat("optimizer.groups.", group, '.', name);
}

// How many insertions, deletions and substitutions make the pattern match the name.
size_t edits_to_match(std::string_view pattern, std::string_view name) {
  std::vector<size_t> edits(name.size() + 1);  // for the pattern so far and so much of the name
  std::iota(edits.begin(), edits.end(), size_t{0});
  for (const char c : pattern) {
    size_t diagonal = edits[0];
    if (c != '*') ++edits[0];
    for (size_t n = 1; n <= name.size(); ++n) {
      const size_t above = edits[n];
      if (c == '*') {
        edits[n] = std::min(above, edits[n - 1]);
      } else {
        const size_t replaced = diagonal + (c == '?' || c == name[n - 1] ? 0 : 1);
        edits[n] = std::min({replaced, above + 1, edits[n - 1] + 1});
      }
      diagonal = above;
    }
  }
  return edits.back();
}

std::string joined(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, names.size()); ++i) {
    if (i > 0) text += ", ";
    text += names[i];
  }
  if (names.size() > kShown) text += concat(" and ", names.size() - kShown, " more");
  return text;
}

// The names that the pattern is nearest to, else the first of all.
std::string hint(const std::string& pattern, const std::vector<std::string>& names) {
  const auto letters = static_cast<size_t>(
      std::count_if(pattern.begin(), pattern.end(), [](char c) { return c != '*' && c != '?'; }));
  size_t least = (letters + 1) / 2;  // further away it is another name
  std::vector<std::string> nearest;
  for (const std::string& name : names) {
    const size_t edits = edits_to_match(pattern, name);
    if (edits > least || (edits == least && nearest.empty())) continue;
    if (edits < least) nearest.clear();
    least = edits;
    nearest.push_back(name);
  }
  if (!nearest.empty()) return concat("; near it: ", joined(nearest));
  return concat("; there are ", joined(names));
}

}  // namespace

void declare_groups(OptionTable& table, std::vector<GroupOptions>& groups) {
  table.add_rows(
      "optimizer.groups", groups,
      [](OptionTable& of_row, const std::string& prefix, GroupOptions& group) {
        of_row.add(prefix + ".match", group.match, Range<std::string>{},
                   {.description = "parameters by name: * stands for any characters, ? for one, "
                                   "as in fc.* and *.bias",
                    .required = true});
        of_row.add(prefix + ".lr_factor", group.lr_factor, at_least(0.0),
                   {.description = "times the learning rate"});
        of_row.add(prefix + ".weight_decay", group.weight_decay, at_least(0.0),
                   {.description = "instead of optimizer.weight_decay and its schedule, for norms "
                                   "and biases too; 0: no trust ratio of lars and lamb either"});
      },
      {.description = "parameters with a learning rate or weight decay of their own: each belongs "
                      "to the first that matches its name"});
}

std::vector<OptionProblem> check(const std::vector<GroupOptions>& groups) {
  std::vector<OptionProblem> problems;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i].match.empty()) {
      problems.push_back({key_of(i, "match"), "is empty; legal: a pattern such as *.bias"});
    }
    for (size_t j = 0; j < i; ++j) {
      if (groups[j].match == groups[i].match && !groups[i].match.empty()) {
        problems.push_back(
            {key_of(i, "match"), concat('"', groups[i].match, "\" is also that of group ", j,
                                        ", which comes first; legal: each pattern once")});
        break;
      }
    }
  }
  return problems;
}

bool glob_matches(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  size_t star = std::string_view::npos;  // the last one seen
  size_t after_star = 0;                 // of the name: what it has swallowed ends here
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after_star = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++after_star;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

std::vector<std::optional<size_t>> assign_groups(const std::vector<GroupOptions>& groups,
                                                 const std::vector<std::string>& names) {
  std::vector<std::optional<size_t>> assigned(names.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::string& pattern = groups[g].match;
    size_t matched = 0;
    size_t got = 0;
    for (size_t i = 0; i < names.size(); ++i) {
      if (!glob_matches(pattern, names[i])) continue;
      ++matched;
      if (assigned[i]) continue;
      assigned[i] = g;
      ++got;
    }
    if (matched == 0) {
      throw OptionError({key_of(g, "match"),
                         concat('"', pattern, "\" matches no parameter", hint(pattern, names))});
    }
    if (got == 0) {
      throw OptionError({key_of(g, "match"),
                         concat("every parameter that \"", pattern,
                                "\" matches belongs to a group before it; legal: the narrower "
                                "pattern first")});
    }
  }
  return assigned;
}

std::string describe_groups(const std::vector<GroupOptions>& groups,
                            const std::vector<std::string>& names) {
  const auto assigned = assign_groups(groups, names);
  std::string text;
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto count = std::count(assigned.begin(), assigned.end(), std::optional(g));
    text += concat(g > 0 ? "; " : "", groups[g].match, " (", count, ")", ": LR × ",
                   OptionCodec<double>::print(groups[g].lr_factor));
    if (groups[g].weight_decay) {
      text += concat(", weight decay ", OptionCodec<double>::print(*groups[g].weight_decay));
    }
  }
  return text;
}

}  // namespace largo::optim
