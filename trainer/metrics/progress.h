// How a run shows itself to the person who started it.
#pragma once

#include <cstdint>
#include <string>

#include "comm/base/log.h"
#include "trainer/metrics/recorder.h"

namespace largo::metrics {

// Whether a person sees our stderr draw in place. mpirun gives its ranks a pipe, so under a local
// Open MPI launcher the launcher's stderr is asked instead. TERM=dumb cannot draw in place.
bool stderr_is_terminal();

// Columns of that terminal; 80 where it does not say.
int stderr_columns();

// Console lines. `total_steps` is the length of the run. Where the LR's clock does not count steps,
// it is the clock that gets there, and both are shown.
std::string train_line(const TrainRecord& record, int64_t total_steps);
std::string eval_line(const EvalRecord& record);

// The bar, at most `columns` - 1 characters long: what does not fit is left out, last things first.
// `eta_s` < 0: not known yet. `latest` is the last train record; its step 0: none yet.
std::string bar_line(const TrainRecord& latest, int64_t step, double clock, int64_t total_steps,
                     double epoch, double eta_s, int columns);

// "4:07" or "2:04:07".
std::string clock_text(double seconds);

// With a bar: redrawn in place at most ten times a second, at the rate of step(). Without: one
// plain line for each train record. Evaluations are lines in both. Speaks through the log, so only
// rank 0 is heard; `log` must outlive it. The caller hands in the time (seconds, any origin).
class Progress {
 public:
  Progress(Log& log, int64_t total_steps, bool bar);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // wipes the bar

  void step(int64_t step, double clock, double epoch, double now_s);
  void train(const TrainRecord& record);
  void eval(const EvalRecord& record);

 private:
  static constexpr double kRedrawSeconds = 0.1;

  Log& log_;
  int64_t total_steps_;
  bool bar_;
  TrainRecord latest_;
  double start_s_ = -1;  // of the first step() call
  double start_clock_ = 0;
  double drawn_s_ = -1;
};

}  // namespace largo::metrics
