#include "comm/agreement.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>

namespace largo::comm {

namespace {

constexpr size_t kListed = 12;

// Ranks by what they say, in the order of the lowest rank that says it.
using Groups = std::vector<std::pair<std::string, std::vector<int>>>;

std::string hosts_of(const std::vector<int>& ranks, const std::vector<RankFacts>& all) {
  constexpr size_t kNamed = 4;
  std::vector<std::string> hosts;
  for (const int rank : ranks) {
    const std::string& host = all[static_cast<size_t>(rank)].host;
    if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.push_back(host);
  }
  std::string text;
  for (size_t h = 0; h < std::min(hosts.size(), kNamed); ++h) {
    text.append(h == 0 ? "" : ", ").append(hosts[h]);
  }
  if (hosts.size() > kNamed) text += concat(" and ", hosts.size() - kNamed, " more hosts");
  return text;
}

std::string describe(const std::string& what, const Groups& groups,
                     const std::vector<RankFacts>& all) {
  std::string text = what + ": ";
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto& [value, ranks] = groups[g];
    text += concat(g == 0 ? "" : "; ", ranks.size() == 1 ? "rank " : "ranks ", number_ranges(ranks),
                   " on ", hosts_of(ranks, all), ": ", value);
  }
  return text;
}

}  // namespace

std::string number_ranges(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += concat(i == 0 ? "" : ", ", numbers[i]);
    if (last > i) text += concat(last == i + 1 ? ", " : "-", numbers[last]);
    i = last + 1;
  }
  return text;
}

std::optional<Disagreement> find_disagreement(const std::vector<RankFacts>& ranks) {
  // All facts in rank 0's order, then those that only others have.
  std::vector<std::pair<std::string, ExitCode>> names;
  std::map<std::string, std::vector<std::string>> values;  // by rank
  for (size_t r = 0; r < ranks.size(); ++r) {
    for (const Fact& fact : ranks[r].facts) {
      auto [entry, is_new] = values.try_emplace(fact.what, ranks.size(), "absent");
      if (is_new) names.emplace_back(fact.what, fact.code);
      entry->second[r] = fact.value;
    }
  }
  std::optional<Disagreement> found;
  size_t differences = 0;
  for (const auto& [what, code] : names) {
    Groups groups;
    const std::vector<std::string>& of_ranks = values.at(what);
    for (size_t r = 0; r < of_ranks.size(); ++r) {
      auto group = std::find_if(groups.begin(), groups.end(),
                                [&](const auto& g) { return g.first == of_ranks[r]; });
      if (group == groups.end()) group = groups.insert(groups.end(), {of_ranks[r], {}});
      group->second.push_back(static_cast<int>(r));
    }
    if (groups.size() < 2) continue;
    if (!found) found = Disagreement{code, "the ranks were not started alike:"};
    if (++differences <= kListed)
      found->message.append("\n  ").append(describe(what, groups, ranks));
  }
  if (differences > kListed) {
    found->message += concat("\n  and ", differences - kListed, " more differences");
  }
  return found;
}

std::string to_bytes(const std::vector<Fact>& facts) {
  std::string bytes;
  const auto put = [&bytes](const std::string& text) {
    const auto length = static_cast<uint32_t>(text.size());
    bytes.append(reinterpret_cast<const char*>(&length), sizeof length).append(text);
  };
  for (const Fact& fact : facts) {
    put(fact.what);
    put(fact.value);
    bytes.push_back(static_cast<char>(fact.code));
  }
  return bytes;
}

std::vector<Fact> facts_from_bytes(const std::string& bytes) {
  size_t at = 0;
  const auto take = [&](size_t length) {
    LARGO_CHECK(length <= bytes.size() - at, "facts end after ", bytes.size(), " bytes");
    at += length;
    return bytes.substr(at - length, length);
  };
  const auto text = [&] {
    uint32_t length = 0;
    std::memcpy(&length, take(sizeof length).data(), sizeof length);
    return take(length);
  };
  std::vector<Fact> facts;
  while (at < bytes.size()) {
    Fact fact;
    fact.what = text();
    fact.value = text();
    fact.code = static_cast<ExitCode>(static_cast<unsigned char>(take(1).front()));
    facts.push_back(std::move(fact));
  }
  return facts;
}

}  // namespace largo::comm
