#include "comm/agree.h"

#include <algorithm>
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

}  // namespace largo::comm
