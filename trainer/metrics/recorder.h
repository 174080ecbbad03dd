// The files that a run leaves behind for people, scripts and studies.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace largo::metrics {

// All fractions are 0..1; `step` counts completed updates; `time_s` is since the start of training,
// earlier parts of a resumed run included.
struct TrainRecord {
  int64_t step = 0;
  double epoch = 0;
  int64_t samples = 0;  // trained on so far, over all ranks
  double loss = 0;
  double top1 = 0;
  double lr = 0;  // used for that update
  double grad_norm = 0;
  double clock = 0;  // how far the LR's time has come, in steps
  std::vector<std::pair<std::string, double>> of_lr = {};  // what else its controller says
  std::optional<double> noise_scale = {};  // of the gradients, in samples; none: not known
  bool noise_scale_biased = false;         // as ranks' gradients depend on one another
  int64_t skipped_steps = 0;               // so far, which changed nothing; losses are without them
  double samples_per_s = 0;
  double time_s = 0;
};

struct EvalRecord {
  int64_t step = 0;
  double epoch = 0;
  std::string split = {};
  double loss = 0;
  double top1 = 0;
  double top5 = 0;
  double confidence = 0;  // mean probability given to the predicted class
  int64_t samples = 0;    // of the split
  double time_s = 0;
};

// Seconds. Phases: medians over steps; p5, p50, p95: of whole steps. logging comes after a step and
// is a mean, since few steps are logged; 0 where no step came after the warm-up.
struct StepTimes {
  double data = 0;
  double forward = 0;
  double backward = 0;
  double exposed_comm = 0;
  double gradient_sums = 0;
  double optimizer = 0;
  double logging = 0;
  double p5 = 0;
  double p50 = 0;
  double p95 = 0;
};

enum class RunStatus { kDone, kStopped, kFailed };

// What summary.json says beside the scores, which the recorder knows from the eval records.
struct Summary {
  RunStatus status = RunStatus::kDone;
  std::string name = {};
  int64_t seed = 0;
  int64_t steps = 0;  // completed
  int world = 1;
  int64_t global_batch = 0;
  std::string split = {};  // whose scores are `final` and `best`; "<split>_ema": `…_ema`
  double time_s = 0;
  double samples_per_s = 0;  // global batch / median step; 0: not measured
  StepTimes step_time = {};
  std::string config_hash = {};
  int64_t peak_memory_bytes = 0;  // of a GPU, the largest over ranks; 0: on the CPU
  int64_t skipped_steps = 0;      // that changed nothing: train.on_nonfinite: skip
  int64_t skipped_samples = 0;    // reads of bad training samples that others took the place of
};

// Writes metrics.jsonl and the other files of a run directory. Every rank has one and calls it
// alike; only rank 0 writes. Not thread-safe. Throws Error{kIo} where a file cannot be written.
//
// metrics.jsonl: one object per line, its `event` first. NaN and infinity are null. A line goes out
// in one write(), so a killed run leaves at most one torn line, the last, which the next recorder
// ends with a newline: readers skip lines that do not parse. After a `resume` line, lines before it
// with a higher step belong to work that was lost: readers drop them.
class Recorder {
 public:
  // No directory (lr-find, benchmarks): nothing is written. The directory must exist.
  Recorder(int rank, std::optional<std::filesystem::path> directory);
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  ~Recorder();

  void start(int world, int64_t global_batch);
  void resume(int64_t step, int world, int64_t global_batch, const std::filesystem::path& from);
  void train(const TrainRecord& record);
  void eval(const EvalRecord& record);
  void checkpoint(int64_t step, double epoch, const std::filesystem::path& folder, double time_s);
  void end(RunStatus status, int64_t step, double time_s);

  // summary.json. `final` is the split's last eval record, `best` its first one of the highest
  // top-1, over all parts of a resumed run; null where nothing was evaluated.
  void write_summary(const Summary& summary);

  // Another file of the run directory ("config.yaml"), replaced whole or not at all. Returns its
  // path; an empty one where nothing is written.
  std::filesystem::path write_file(const std::string& name, std::string_view content);

 private:
  struct Scores {
    int64_t step = 0;
    double top1 = 0;
    double top5 = 0;
    double loss = 0;
  };

  void read_evals();
  void forget_after(int64_t step);
  void append(const std::string& line);

  std::optional<std::filesystem::path> directory_;  // none on ranks that do not write
  int file_ = -1;
  std::map<std::string, std::map<int64_t, Scores>> evals_;  // by split and step
};

}  // namespace largo::metrics
