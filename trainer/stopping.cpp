#include "trainer/stopping.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <numeric>
#include <string_view>
#include <system_error>
#include <utility>

#include "comm/base/error.h"
#include "comm/base/time.h"

namespace largo {

namespace {

// Before any checkpoint was made: what one may take, but no large part of a short limit; and the
// pace of a slow network disk.
constexpr double kUnknownSaveSeconds = 10;
constexpr double kUnknownSaveShare = 0.1;
constexpr double kUnknownSaveBytesPerSecond = 50e6;

// Before any evaluation was made: of the time that training on as many samples takes.
constexpr double kUnknownEvaluationShare = 2;

}  // namespace

int64_t evaluations_before_stop(int64_t completed, const std::function<bool(int64_t)>& follows) {
  int64_t count = 0;
  for (int64_t step = completed; step <= completed + 1 + kStepsUntilAgreed; ++step) {
    if (follows(step)) ++count;
  }
  return count;
}

Stopping::Stopping(std::function<int()> signal, std::optional<Deadline> deadline, int rank,
                   double now_s, Outlook outlook)
    : signal_(std::move(signal)),
      deadline_(std::move(deadline)),
      outlook_(outlook),
      watches_time_(rank == 0 && deadline_.has_value()),
      started_s_(now_s),
      last_s_(now_s) {}

Wishes Stopping::wishes(double now_s, int64_t evaluations) {
  const double passed = now_s - std::exchange(last_s_, now_s);
  double took = std::max(passed - std::exchange(evaluating_s_, 0), 0.0);
  steps_s_ += took;
  ++steps_;
  for (double& longest : longest_s_) {
    if (took > longest) std::swap(took, longest);
  }
  Wishes wishes = signal_ && signal_() != 0 ? kStopSignal : 0;
  if (watches_time_ && now_s + margin_s(evaluations) >= deadline_->at_s) wishes |= kStopForTime;
  return wishes;
}

void Stopping::saved_in(double seconds) {
  longest_save_s_ = std::max(longest_save_s_.value_or(0), seconds);
}

void Stopping::evaluated_in(double seconds) {
  evaluating_s_ += seconds;
  longest_evaluation_s_ = std::max(longest_evaluation_s_.value_or(0), seconds);
}

double Stopping::save_s() const {
  if (longest_save_s_) return *longest_save_s_;
  const double limit_s = deadline_ ? deadline_->at_s - started_s_ : 0;
  return std::clamp(kUnknownSaveShare * limit_s, 0.0, kUnknownSaveSeconds) +
         static_cast<double>(outlook_.state_bytes) / kUnknownSaveBytesPerSecond;
}

double Stopping::evaluation_s() const {
  if (longest_evaluation_s_) return *longest_evaluation_s_;
  const double step_s = steps_ > 0 ? steps_s_ / static_cast<double>(steps_) : 0;
  return kUnknownEvaluationShare * outlook_.evaluation_steps * step_s;
}

double Stopping::margin_s(int64_t evaluations) const {
  double steps_s = std::accumulate(longest_s_.begin(), longest_s_.end(), 0.0);
  // Of the first steps of a run no other is known.
  for (auto step = steps_; step < std::ssize(longest_s_); ++step) steps_s += longest_s_[0];
  return steps_s + static_cast<double>(evaluations) * evaluation_s() + 2 * save_s();
}

bool Stopping::is_agreed(Wishes agreed) { return (agreed & (kStopSignal | kStopForTime)) != 0; }

std::optional<Deadline> earliest_deadline(std::optional<double> time_limit_s, double started_s,
                                          const char* job_end, double unix_s, double now_s,
                                          const std::function<void(const std::string&)>& warn) {
  std::optional<Deadline> earliest;
  if (time_limit_s) {
    earliest = Deadline{started_s + *time_limit_s,
                        "train.time_limit " + OptionCodec<Time>::print({*time_limit_s})};
  }
  if (job_end == nullptr) return earliest;
  const std::string_view text(job_end);
  double end_unix_s = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), end_unix_s);
  const bool is_time = error == std::errc() && stop == text.data() + text.size() &&
                       std::isfinite(end_unix_s) && end_unix_s > 0;
  if (!is_time || end_unix_s <= unix_s) {  // as a shell has it that outlived its job
    warn(concat("SLURM_JOB_END_TIME=", text,
                is_time ? " has passed" : " is not a number of seconds since 1970",
                ": the end of the job is not watched"));
    return earliest;
  }
  const Deadline of_job{now_s + (end_unix_s - unix_s), "the end of the Slurm job"};
  return !earliest || of_job.at_s < earliest->at_s ? of_job : earliest;
}

}  // namespace largo
