#include "comm/agree.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "comm/base/error.h"

namespace largo::comm {

void on_all_ranks(const MpiSession& session, const std::function<void()>& local) {
  std::string outcome;  // empty: all is well; else the exit code as one byte, then the message
  try {
    local();
  } catch (const std::exception& error) {
    outcome = static_cast<char>(exit_code(error)) + std::string(error.what());
  }
  const std::vector<std::string> outcomes = session.all_gather(outcome);
  const auto failed =
      std::find_if(outcomes.begin(), outcomes.end(), [](const auto& o) { return !o.empty(); });
  if (failed == outcomes.end()) return;
  const bool all_alike = std::all_of(outcomes.begin(), outcomes.end(),
                                     [&](const std::string& o) { return o == *failed; });
  const auto rank = static_cast<int>(failed - outcomes.begin());
  const std::string host = session.broadcast(session.host(), rank);
  const std::string message = failed->substr(1);
  throw AgreedError(static_cast<ExitCode>(static_cast<unsigned char>(failed->front())),
                    all_alike ? message : concat("rank ", rank, " on ", host, ": ", message));
}

void on_rank_zero(const MpiSession& session, const std::function<void()>& local) {
  std::string outcome;
  if (session.rank() == 0) {
    try {
      local();
    } catch (const std::exception& error) {
      outcome = static_cast<char>(exit_code(error)) + std::string(error.what());
    }
  }
  outcome = session.broadcast(outcome);
  if (outcome.empty()) return;
  throw AgreedError(static_cast<ExitCode>(static_cast<unsigned char>(outcome.front())),
                    outcome.substr(1));
}

void agree_on(const MpiSession& session, const std::vector<Fact>& facts) {
  const std::string mine = to_bytes(facts);
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : mine) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  const std::string short_form(reinterpret_cast<const char*>(&hash), sizeof hash);
  const std::vector<std::string> of_all = session.all_gather(short_form);
  if (std::equal(of_all.begin() + 1, of_all.end(), of_all.begin())) return;
  const std::vector<std::string> hosts = session.all_gather(session.host());
  const std::vector<std::string> full = session.all_gather(mine);
  std::vector<RankFacts> ranks;
  ranks.reserve(full.size());
  for (size_t r = 0; r < full.size(); ++r) ranks.push_back({hosts[r], facts_from_bytes(full[r])});
  const auto found = find_disagreement(ranks);
  LARGO_CHECK(found.has_value(), "facts differ in their order only");
  throw AgreedError(found->code, found->message);
}

}  // namespace largo::comm
