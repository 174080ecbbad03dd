#include "trainer/stopping.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>
#include <utility>

#include "comm/base/error.h"
#include "comm/base/time.h"

namespace largo {

namespace {

// Before any checkpoint was made: what one may take, but no large part of a short limit.
constexpr double kUnknownSaveSeconds = 10;
constexpr double kUnknownSaveShare = 0.1;

}  // namespace

Stopping::Stopping(std::function<int()> signal, std::optional<Deadline> deadline, int rank,
                   double now_s)
    : signal_(std::move(signal)),
      deadline_(std::move(deadline)),
      watches_time_(rank == 0 && deadline_.has_value()),
      started_s_(now_s),
      last_s_(now_s) {}

Wishes Stopping::wishes(double now_s) {
  const double took = now_s - std::exchange(last_s_, now_s);
  if (took > longest_s_) {
    second_s_ = std::exchange(longest_s_, took);
  } else {
    second_s_ = std::max(second_s_, took);
  }
  Wishes wishes = signal_ && signal_() != 0 ? kStopSignal : 0;
  if (watches_time_ && now_s + margin_s() >= deadline_->at_s) wishes |= kStopForTime;
  return wishes;
}

void Stopping::saved_in(double seconds) {
  longest_save_s_ = std::max(longest_save_s_.value_or(0), seconds);
}

double Stopping::margin_s() const {
  const double unknown =
      deadline_ ? std::min(kUnknownSaveSeconds, kUnknownSaveShare * (deadline_->at_s - started_s_))
                : kUnknownSaveSeconds;
  // A writer may be busy with the checkpoint before.
  return longest_s_ + second_s_ + 2 * longest_save_s_.value_or(std::max(unknown, 0.0));
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
