#include "trainer/commands/stop.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "comm/base/error.h"

namespace largo::commands {

double steady_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Stopping make_stopping(const TrainOptions& options, const comm::StopSignals& signals, int rank,
                       double started_s, Log& log) {
  const double now_s = steady_s();
  const double unix_s =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::optional<double> limit_s;
  if (options.time_limit) limit_s = options.time_limit->seconds;
  const auto deadline =
      earliest_deadline(limit_s, started_s, std::getenv("SLURM_JOB_END_TIME"), unix_s, now_s,
                        [&log](const std::string& warning) { log.warn(warning); });
  if (deadline) {
    log.note(concat("stops in time for ", deadline->source, ", ",
                    std::llround(deadline->at_s - now_s), " s from now"));
  }
  return {[&signals] { return signals.received(); }, deadline, rank, now_s};
}

std::string reason_of_stop(Wishes why, const Stopping& stopping, const comm::StopSignals& signals,
                           const comm::MpiSession& session) {
  const int signal = signals.received();
  const std::vector<std::string> all =
      session.all_gather(signal == 0 ? ""
                                     : concat(comm::name_of_stop_signal(signal), " on rank ",
                                              session.rank(), " (", session.host(), ")"));
  size_t count = 0;
  std::string first;
  for (const std::string& one : all) {
    if (one.empty()) continue;
    if (count++ == 0) first = one;
  }
  if ((why & kStopSignal) == 0 && stopping.deadline()) {
    return concat(stopping.deadline()->source, " in ",
                  std::llround(stopping.deadline()->at_s - steady_s()), " s");
  }
  if (count <= 1) return first;
  if (count == all.size()) return concat(first, " and on all others");
  return concat(first, " and on ", count - 1, " others");
}

void leave(int code) {
  std::fflush(nullptr);
  ::_exit(code);
}

}  // namespace largo::commands
