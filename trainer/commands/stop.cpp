#include "trainer/commands/stop.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "comm/base/error.h"

namespace largo::commands {

namespace {

int64_t bytes_of(const Learner::NamedTensors& tensors) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

Outlook outlook_of(Training& training) {
  const config::RunConfig& values = training.run.config.values;
  const auto samples = static_cast<double>(training.sets.val->size());
  const double steps = samples / static_cast<double>(training.run.prepared.plan.global_batch()) +
                       static_cast<double>(values.eval.precise_bn);
  Learner& learner = training.learner;
  return {.state_bytes = bytes_of(learner.model_state()) + bytes_of(learner.optimizer_state()),
          .evaluation_steps = learner.average ? 2 * steps : steps};
}

}  // namespace

double steady_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Stopping make_stopping(Training& training, const comm::StopSignals& signals, double started_s,
                       Log& log) {
  const double now_s = steady_s();
  const double unix_s =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::optional<double> limit_s;
  const auto& time_limit = training.run.config.values.train.time_limit;
  if (time_limit) limit_s = time_limit->seconds;
  const auto deadline =
      earliest_deadline(limit_s, started_s, std::getenv("SLURM_JOB_END_TIME"), unix_s, now_s,
                        [&log](const std::string& warning) { log.warn(warning); });
  if (deadline) {
    log.note(concat("stops in time for ", deadline->source, ", ",
                    std::llround(deadline->at_s - now_s), " s from now"));
  }
  return {[&signals] { return signals.received(); }, deadline, training.session.rank(), now_s,
          outlook_of(training)};
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
