#include "trainer/run_options.h"

#include <stdexcept>
#include <string_view>

namespace largo {

namespace {

constexpr const char* kLettersAndDigits =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
constexpr size_t kMaxNameBytes = 200;

bool is_run_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         (std::string(kLettersAndDigits) + "_").find(name[0]) != std::string::npos &&
         name.find_first_not_of(std::string(kLettersAndDigits) + "_.-+=@,") == std::string::npos;
}

Range<std::string> directory_name() {
  return {
      "that names a directory: at most 200 letters, digits and any of _.-+=@, with a "
      "letter, a digit or _ in front",
      is_run_name};
}

Range<Duration> longer_than_nothing() {
  return {"longer than 0", [](const Duration& value) { return value.amount > 0; }};
}

// run.threads is "auto" while it holds no value.
void declare_threads(OptionTable& table, std::optional<int64_t>& threads) {
  const std::string type = "auto or integer";
  const std::string legal = ">= 1";
  Option option{.key = "run.threads",
                .type = type,
                .legal = legal,
                .info = {.description = "CPU threads per rank; auto: the cores that this process "
                                        "may use, divided by the ranks on its node",
                         .effect = Effect::kSpeed},
                .default_text = "auto",
                .set = {},
                .text = {}};
  option.set = detail::scalar_setter(type, [&threads, type, legal](const std::string& text) {
    if (text == "auto") {
      threads.reset();
      return;
    }
    int64_t value = 0;
    try {
      value = OptionCodec<int64_t>::parse(text);
    } catch (const std::invalid_argument& wrong) {
      throw std::invalid_argument(detail::not_legal(text, wrong.what(), type, legal));
    }
    if (value < 1) {
      throw std::invalid_argument(detail::not_legal(text, "is out of range", type, legal));
    }
    threads = value;
  });
  option.text = [&threads] {
    return std::optional(threads ? std::to_string(*threads) : std::string("auto"));
  };
  table.add_option(std::move(option));
}

}  // namespace

StepRange OptionCodec<StepRange>::parse(std::string_view text) {
  const size_t dash = text.find('-');
  StepRange range;
  try {
    range.first = OptionCodec<int64_t>::parse(text.substr(0, dash));
    range.last = dash == std::string_view::npos
                     ? range.first
                     : OptionCodec<int64_t>::parse(text.substr(dash + 1));
  } catch (const std::invalid_argument&) {
    throw std::invalid_argument("is not a range of steps");
  }
  if (range.first < 1 || range.last < range.first) {
    throw std::invalid_argument("is not a range of steps, which count from 1");
  }
  return range;
}

std::string OptionCodec<StepRange>::print(const StepRange& value) {
  return std::to_string(value.first) + "-" + std::to_string(value.last);
}

void declare_options(OptionTable& table, RunOptions& options) {
  table.add("run.name", options.name, directory_name(),
            {.description = "the run's directory inside run.output; without it, the name of the "
                            "configuration file less its ending",
             .effect = Effect::kOutput});
  table.add(
      "run.output", options.output,
      Range<std::string>{"that is not empty", [](const auto& path) { return !path.empty(); }},
      {.description = "folder of run directories", .effect = Effect::kOutput, .is_path = true});
  table.add("run.seed", options.seed, at_least<int64_t>(0),
            {.description = "of everything random: order, augmentation, initial weights"});
  using comm::DeviceWish;
  table.add_choice<DeviceWish>(
      "run.device", options.device,
      {{"auto", DeviceWish::kAuto}, {"cpu", DeviceWish::kCpu}, {"cuda", DeviceWish::kCuda}},
      {.description = "auto: a GPU where one is visible to any rank"});
  declare_threads(table, options.threads);
  declare_options(table, options.process);
  table.add_choice<Determinism>(
      "run.determinism", options.determinism,
      {{"none", Determinism::kNone},
       {"run", Determinism::kRun},
       {"world_size", Determinism::kWorldSize}},
      {.description =
           "what has the same bits when it is trained again. none: nothing is promised; "
           "run: the same run on as many ranks and threads; world_size: on any number of "
           "ranks that share out run.virtual_workers, on CPUs"});
  table.add("run.virtual_workers", options.virtual_workers, at_least<int64_t>(1),
            {.description = "equal parts of the global batch, each a micro-batch on some rank; "
                            "their gradients are summed in one binary tree, whatever the ranks. "
                            "Ranks: this number, its half, quarter and so on, or 1",
             .applies = {"run.determinism", {"world_size"}}});
  table.add("run.tf32", options.tf32, Range<bool>{},
            {.description = "let GPUs multiply float32 numbers with 10 bits of mantissa "
                            "(TensorFloat-32) in convolutions and matrix products, as PyTorch does "
                            "in convolutions"});
  table.add("run.share_gpu", options.share_gpu, Range<bool>{},
            {.description = "let ranks share a GPU: slow, for tests on a machine with few GPUs",
             .effect = Effect::kSpeed});
  table.add("run.profile", options.profile, Range<StepRange>{},
            {.description = "steps that are recorded, first-last: each rank leaves a Chrome trace "
                            "profile.rankN.json in the run's directory. Left out: none",
             .effect = Effect::kOutput});
}

void declare_options(OptionTable& table, TrainOptions& options) {
  table.add(
      "train.length", options.length, Range<Duration>{},
      {.description = "length of training; 0steps saves the initial weights", .required = true});
  table.add_choice<LastBatch>(
      "train.last_batch", options.last_batch,
      {{"drop", LastBatch::kDrop}, {"keep", LastBatch::kKeep}, {"wrap", LastBatch::kWrap}},
      {.description = "samples of an epoch that fill no global batch: left out, a smaller batch, "
                      "or filled up from the next epoch's permutation"});
  table.add_choice<Precision>(
      "train.precision", options.precision,
      {{"float32", Precision::kFloat32},
       {"bfloat16", Precision::kBfloat16},
       {"float64", Precision::kFloat64},
       {"auto", Precision::kAuto}},
      {.description = "of arithmetic. bfloat16: convolutions and matrix "
                      "products, and the activations between them; weights, "
                      "statistics, loss and sums stay float32. float64 is "
                      "for tests. auto: float32 or bfloat16, whichever a few passes at the start "
                      "show to be faster on rank 0; the run keeps that when it is resumed"});
  table.add("train.log_every", options.log_every, longer_than_nothing(),
            {.description = "how often losses are logged", .effect = Effect::kOutput});
  table.add("train.eval_every", options.eval_every, longer_than_nothing(),
            {.description = "how often the evaluation set is gone through; always at the end",
             .effect = Effect::kOutput});
  table.add("train.check_every", options.check_every, Range<Duration>{},
            {.description = "how often the parameters and buffers of all ranks are compared, by a "
                            "hash: a flipped bit is found within so many steps. 0steps: only 1, 2 "
                            "and 10 steps after the start and before a checkpoint, as always",
             .effect = Effect::kOutput});
  table.add_choice<NoiseScaleWish>(
      "train.noise_scale", options.noise_scale,
      {{"auto", NoiseScaleWish::kAuto}, {"on", NoiseScaleWish::kOn}, {"off", NoiseScaleWish::kOff}},
      {.description =
           "log how noisy gradients are, as the batch from which more samples say little "
           "that is new: from the differences between micro-batches. auto: where a step "
           "has two or more of one size, over all ranks; on: refuse a run without",
       .effect = Effect::kOutput});
  table.add("train.time_limit", options.time_limit,
            Range<Time>{"longer than 0", [](const Time& value) { return value.seconds > 0; }},
            {.description = "how long the program may run: in time before that it saves a "
                            "checkpoint and ends with exit code 75, to be started again. A Slurm "
                            "job's own end counts too. Left out: none",
             .effect = Effect::kOutput});
  table.add_choice<OnNonfinite>(
      "train.on_nonfinite", options.on_nonfinite,
      {{"stop", OnNonfinite::kStop}, {"skip", OnNonfinite::kSkip}},
      {.description =
           "a step whose gradient is NaN or infinite, after the sum over ranks: ends the "
           "run with a report, or changes nothing but the time of the schedules (on a "
           "GPU the host then waits for each step)"});
  table.add("train.max_skipped", options.max_skipped, at_least<int64_t>(1),
            {.description = "under train.on_nonfinite: skip, most steps in a row that are left "
                            "out; one more ends the run. Left out: 10",
             .effect = Effect::kOutput,
             .unit = "steps"});
  table.add("train.clip_norm", options.clip_norm, above(0.0),
            {.description = "gradients of a larger norm (over all parameters, after the sum over "
                            "ranks) are scaled down to it; left out: none are"});
  table.add("train.ema.decay", options.ema.decay,
            Range<double>{"> 0 and < 1", [](double v) { return v > 0 && v < 1; }},
            {.description = "keeps a moving average of the weights, and of the running statistics, "
                            "and evaluates and saves both; what is left of it after one step at "
                            "train.ema.at_batch. Left out: none is kept"});
  table.add("train.ema.at_batch", options.ema.at_batch, at_least<int64_t>(1),
            {.description = "global batch that train.ema.decay is stated at: the average decays by "
                            "decay ^ (batch.global / at_batch) per step",
             .unit = "samples"});
}

std::vector<OptionProblem> check(const TrainOptions& options) {
  std::vector<OptionProblem> problems;
  if (options.max_skipped && options.on_nonfinite != OnNonfinite::kSkip) {
    problems.push_back(
        {"train.max_skipped", "is of use with train.on_nonfinite: skip only, and that is stop"});
  }
  const EmaOptions& ema = options.ema;
  if (ema.decay && !ema.at_batch) {
    problems.push_back(
        {"train.ema.at_batch",
         "is needed beside train.ema.decay: the global batch that the decay is stated at"});
  }
  if (ema.at_batch && !ema.decay) {
    problems.push_back(
        {"train.ema.decay", "is needed beside train.ema.at_batch; 0.9999 is usual at batch 256"});
  }
  return problems;
}

void declare_options(OptionTable& table, EvalOptions& options) {
  table.add(
      "eval.batch", options.batch, at_least<int64_t>(1),
      {.description = "what one forward pass of the evaluation sees on a rank; alters no more than "
                      "the last bits of its numbers, by which a plateau policy decides",
       .effect = Effect::kSpeed,
       .unit = "samples"});
  table.add("eval.precise_bn", options.precise_bn, at_least<int64_t>(0),
            {.description = "before an evaluation, take the running statistics of batch norms anew "
                            "from the last so many training batches; weights.safetensors holds "
                            "those, training goes on with its own. 0: no",
             .unit = "global batches"});
}

}  // namespace largo
