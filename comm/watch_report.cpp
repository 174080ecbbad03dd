#include "comm/watch_report.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "comm/agreement.h"
#include "comm/base/error.h"

namespace largo::comm {

namespace {

constexpr size_t kNamed = 16;

double limit_of(Doing doing, const WatchLimits& limits) {
  return may_take_long(doing) ? std::max(limits.timeout_s, limits.init_timeout_s)
                              : limits.timeout_s;
}

std::string seconds(double value) {
  return concat(std::max(0.1, std::round(value * 10) / 10), " s");
}

std::string hosts_of(const std::vector<const RankSeen*>& ranks) {
  std::vector<std::string> hosts;
  for (const RankSeen* rank : ranks) {
    if (std::find(hosts.begin(), hosts.end(), rank->host) == hosts.end()) {
      hosts.push_back(rank->host);
    }
  }
  std::string text;
  for (size_t h = 0; h < std::min<size_t>(hosts.size(), 4); ++h) {
    text.append(h == 0 ? "" : ", ").append(hosts[h]);
  }
  return hosts.size() > 4 ? concat(text, " and ", hosts.size() - 4, " more hosts") : text;
}

std::string list(const char* one, const char* many, const std::vector<const RankSeen*>& ranks) {
  std::vector<int> numbers;
  numbers.reserve(ranks.size());
  for (const RankSeen* rank : ranks) numbers.push_back(rank->rank);
  return concat(numbers.size() == 1 ? one : many, number_ranges(numbers), " on ", hosts_of(ranks));
}

std::string describe_missing(const RankSeen& rank) {
  std::string text = concat("; missing: rank ", rank.rank, " on ", rank.host, ", which ");
  if (rank.line_known && rank.begun > rank.done && rank.what != 0) {
    text += concat("is in ", FlightRecord::unpacked(rank.what), " #", rank.done + 1,
                   " of the same ranks");
  } else {
    text += to_string(rank.doing);
    if (rank.doing != Doing::kStarting) text += concat(" in step ", rank.step);
  }
  return text + concat(" (last sign of life ", seconds(rank.silent_s), " ago)");
}

}  // namespace

double patience_used(double waited_s, double watched_s, Doing own,
                     const std::vector<RankSeen>& ranks, const WatchLimits& limits) {
  double used = std::min(waited_s, watched_s) / limit_of(own, limits);
  for (const RankSeen& rank : ranks) {
    if (!rank.known) continue;
    used = std::min(used, std::min(rank.silent_s, watched_s) / limit_of(rank.doing, limits));
  }
  return used;
}

std::string name_of(const FlightRecord::Waiting& waiting) {
  return concat(waiting.call_known ? to_string(waiting.call) : "a collective", ", #",
                waiting.call.sequence, " on ", waiting.line, ", in step ", waiting.call.step);
}

std::string describe_ranks(const FlightRecord::Waiting& waiting,
                           const std::vector<RankSeen>& ranks) {
  const uint64_t sequence = waiting.call.sequence;
  const uint64_t what = FlightRecord::pack(waiting.call.kind, waiting.call.bytes);
  std::vector<const RankSeen*> arrived, missing, other, unknown;
  for (const RankSeen& rank : ranks) {
    if (!rank.known || rank.line_lost) {
      unknown.push_back(&rank);
    } else if (!rank.line_known) {
      missing.push_back(&rank);
    } else if (rank.begun < sequence) {
      missing.push_back(&rank);
    } else if (rank.done + 1 == sequence && waiting.call_known && rank.what != 0 &&
               rank.what != what) {
      other.push_back(&rank);
    } else {
      arrived.push_back(&rank);
    }
  }
  std::string text =
      arrived.empty() ? "arrived: none" : list("arrived: rank ", "arrived: ranks ", arrived);
  for (size_t m = 0; m < std::min(missing.size(), kNamed); ++m)
    text += describe_missing(*missing[m]);
  if (missing.size() > kNamed) text += concat("; ", missing.size() - kNamed, " more are missing");
  for (size_t o = 0; o < std::min(other.size(), kNamed); ++o) {
    text +=
        concat("; rank ", other[o]->rank, " on ", other[o]->host, " is in ",
               FlightRecord::unpacked(other[o]->what), " instead: the ranks do not call the same");
  }
  if (!unknown.empty()) text += list("; no word from rank ", "; no word from ranks ", unknown);
  bool in_trouble = false;
  for (const RankSeen& rank : ranks) {
    if (rank.trouble == nullptr) continue;
    in_trouble = true;
    text += concat("; the process of rank ", rank.rank, " on ", rank.host, " ", rank.trouble);
  }
  if (missing.empty() && other.empty() && unknown.empty() && !in_trouble) {
    text += "; all have come, and it does not end";
  }
  return text;
}

std::string to_text(const RankWord& word) {
  std::string text = concat("rank ", word.rank, " ", static_cast<uint32_t>(word.doing), " ",
                            word.step, " ", word.silent_s, " ", word.lines.size(), "\n");
  for (const FlightRecord::Position& line : word.lines) {
    text += concat(line.line, " ", line.begun, " ", line.done, " ", line.what, "\n");
  }
  return text;
}

std::optional<RankWord> word_from_text(const std::string& text) {
  constexpr size_t kMostLines = 10000;
  std::istringstream in(text);
  RankWord word;
  std::string name;
  uint32_t doing = 0;
  size_t lines = 0;
  in >> name >> word.rank >> doing >> word.step >> word.silent_s >> lines;
  if (!in || name != "rank" || lines > kMostLines ||
      doing > static_cast<uint32_t>(Doing::kEnding)) {
    return std::nullopt;
  }
  word.doing = static_cast<Doing>(doing);
  for (size_t i = 0; i < lines; ++i) {
    FlightRecord::Position line;
    in >> line.line >> line.begun >> line.done >> line.what;
    word.lines.push_back(std::move(line));
  }
  if (!in) return std::nullopt;
  return word;
}

}  // namespace largo::comm
