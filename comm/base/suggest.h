// "did you mean": the known word that a misspelt one is nearest to.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace largo {

// Damerau-Levenshtein distance, optimal string alignment form: insertions, deletions,
// substitutions and swaps of neighbours count one each.
int edit_distance(std::string_view a, std::string_view b);

// The nearest of `known` within `max_distance` edits, and closer than the whole word's length;
// the first of equally near ones.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known,
                                   int max_distance = 2);

// `; did you mean "linear"?`, or nothing where no word is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

}  // namespace largo
