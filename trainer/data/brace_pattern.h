// One name that stands for many: train-{0000..0146}.tar.
#pragma once

#include <string>
#include <vector>

namespace largo::data {

// More names than any set has shards.
constexpr size_t kMostShards = 1'000'000;

// The names that a pattern with braces stands for, in order; the last brace runs fastest. {0..12}
// is a range of numbers; where a bound starts with 0 all are filled up with zeros to the longer
// bound, as shells do. {a,b,c} is a list. Without braces the pattern is the one name. Throws
// OptionError for `key`, the option that the pattern is the value of: for an empty pattern, braces
// without partner, within braces, or with neither `..` nor a comma, ranges that run backwards or
// are not numbers, names that come twice, more than kMostShards names, and `*` and `?`, which would
// hide that a shard is missing.
std::vector<std::string> expand_braces(const std::string& pattern, const std::string& key);

}  // namespace largo::data
