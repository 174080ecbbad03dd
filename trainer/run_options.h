// Options of a run as a whole and of its training loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "comm/base/process_setup.h"
#include "comm/base/time.h"
#include "comm/device_choice.h"
#include "trainer/base/duration.h"

namespace largo {

enum class LastBatch { kDrop, kKeep, kWrap };
enum class Precision { kFloat32, kBfloat16, kFloat64, kAuto };
enum class NoiseScaleWish { kAuto, kOn, kOff };
enum class Determinism { kNone, kRun, kWorldSize };
enum class OnNonfinite { kStop, kSkip };

// Steps, counted from 1; both ends belong to it.
struct StepRange {
  int64_t first = 1;
  int64_t last = 1;

  friend bool operator==(const StepRange&, const StepRange&) = default;
};

template <>
struct OptionCodec<StepRange> {
  static constexpr const char* kType = "range of steps (12-15)";
  static StepRange parse(std::string_view text);
  static std::string print(const StepRange& value);
};

struct RunOptions {
  std::string name;             // empty: the config file's name without its ending
  std::string output = "runs";  // folder of run directories
  int64_t seed = 1;
  comm::DeviceWish device = comm::DeviceWish::kAuto;
  std::optional<int64_t> threads;  // per rank; empty: affinity mask / ranks on the node
  ProcessOptions process;
  Determinism determinism = Determinism::kNone;
  int64_t virtual_workers = 8;  // that the global batch is cut into, under kWorldSize
  bool tf32 = true;
  bool share_gpu = false;            // several ranks may use one GPU: for tests
  std::optional<StepRange> profile;  // steps that are recorded; empty: none
};

// An exponential moving average of the weights, kept beside them.
struct EmaOptions {
  std::optional<double> decay;      // of one step at at_batch; empty: no average
  std::optional<int64_t> at_batch;  // global batch that decay is stated at
};

struct TrainOptions {
  Duration length;
  LastBatch last_batch = LastBatch::kDrop;
  Precision precision = Precision::kFloat32;
  Duration log_every = {20, Duration::Unit::kSteps};
  Duration eval_every = {1, Duration::Unit::kEpochs};
  Duration check_every = {100, Duration::Unit::kSteps};  // that ranks hold the same; 0: hardly
  std::optional<double> clip_norm;  // largest Euclidean norm of the gradient; empty: any
  EmaOptions ema;
  NoiseScaleWish noise_scale = NoiseScaleWish::kAuto;
  std::optional<Time> time_limit;  // from the start of the program; empty: none
  OnNonfinite on_nonfinite = OnNonfinite::kStop;
  std::optional<int64_t> max_skipped;  // steps in a row; empty: NonfiniteSteps::kMostInARow
};

struct EvalOptions {
  int64_t batch = 500;     // samples per rank that one forward pass sees
  int64_t precise_bn = 0;  // global batches that running statistics are taken anew from; 0: none
};

void declare_options(OptionTable& table, RunOptions& options);    // run.*
void declare_options(OptionTable& table, TrainOptions& options);  // train.*
void declare_options(OptionTable& table, EvalOptions& options);   // eval.*

std::vector<OptionProblem> check(const TrainOptions& options);

}  // namespace largo
