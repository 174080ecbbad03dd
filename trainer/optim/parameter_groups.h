// Parameter groups by name pattern: optimizer.groups.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/option_table.h"

namespace largo::optim {

struct GroupOptions {
  std::string match;                        // pattern over parameter names
  double lr_factor = 1;                     // of the learning rate
  std::optional<double> weight_decay = {};  // instead of the optimizer's, and never scheduled
};

void declare_groups(OptionTable& table, std::vector<GroupOptions>& groups);  // optimizer.groups
std::vector<OptionProblem> check(const std::vector<GroupOptions>& groups);

// `*` stands for any characters, dots too, or none; `?` for one.
bool glob_matches(std::string_view pattern, std::string_view name);

// Of each name the first group that matches it; empty: none does. Throws OptionError for a group
// that gets no parameter.
std::vector<std::optional<size_t>> assign_groups(const std::vector<GroupOptions>& groups,
                                                 const std::vector<std::string>& names);

// "fc.* (2 parameters): LR x 10, weight decay 0; *.bias (21): LR x 2": for the log at the start.
// Empty where there are no groups.
std::string describe_groups(const std::vector<GroupOptions>& groups,
                            const std::vector<std::string>& names);

}  // namespace largo::optim
