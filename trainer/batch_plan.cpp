#include "trainer/batch_plan.h"

#include <algorithm>
#include <cmath>

#include "comm/base/error.h"
#include "comm/base/tree_order.h"

namespace largo {

namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// "384 or 512": the multiples of `unit` around `value`.
std::string multiples_around(int64_t value, int64_t unit) {
  const int64_t low = value / unit * unit;
  return low == 0 ? std::to_string(unit) : concat(low, " or ", low + unit);
}

// The world sizes near `world` at which `total` is a multiple of world × unit.
std::string legal_worlds(int64_t total, int64_t unit) {
  std::string worlds;
  int found = 0;
  for (int64_t w = 1; w <= total / unit && found < 12; ++w) {
    if (total % (w * unit) != 0) continue;
    worlds += concat(worlds.empty() ? "" : ", ", w);
    ++found;
  }
  return worlds.empty() ? "none" : worlds;
}

struct Resolved {
  int64_t global = 0;
  int64_t largest_per_rank = 0;  // the lower ranks' share
};

Resolved resolve(const BatchPlan::Inputs& inputs) {
  const BatchOptions& batch = inputs.batch;
  const int64_t global = batch.global ? *batch.global : *batch.per_rank * inputs.world;
  return {global, divide_up(global, inputs.world)};
}

// Numbers of workers near `workers` that so many ranks can share out.
std::string workers_for(int64_t world, int64_t workers) {
  int64_t low = world;
  while (low * 2 <= workers) low *= 2;
  return low < workers ? concat(low, " or ", low * 2) : std::to_string(low);
}

std::optional<OptionProblem> check_micro(const BatchOptions& batch, int64_t global,
                                         int64_t workers) {
  const int64_t of_worker = global / workers;
  const std::string share = concat(of_worker, " samples of each of ", workers,
                                   " virtual workers (batch.global ", global, ")");
  if (batch.micro && *batch.micro != of_worker) {
    const bool divides = global % *batch.micro == 0;
    return OptionProblem{
        "batch.micro",
        concat("micro ", *batch.micro, " is not the ", share, "; legal: micro ", of_worker,
               divides ? concat(", or run.virtual_workers: ", global / *batch.micro) : "")};
  }
  if (batch.max_micro && *batch.max_micro < of_worker) {
    int64_t more = workers;
    while (global % more == 0 && global / more > *batch.max_micro) more *= 2;
    return OptionProblem{
        "batch.max_micro",
        concat("max_micro ", *batch.max_micro, " is less than the ", share, "; legal: at least ",
               of_worker, global % more == 0 ? concat(", or run.virtual_workers: ", more) : "")};
  }
  return std::nullopt;
}

// What keeps virtual workers from having equal parts of every step.
std::vector<OptionProblem> check_workers(const BatchPlan::Inputs& inputs, int64_t global) {
  const int64_t workers = inputs.virtual_workers;
  std::vector<OptionProblem> problems;
  if (auto problem = check_shares(workers, inputs.world)) problems.push_back(std::move(*problem));
  if (global % workers != 0) {
    problems.push_back(
        {inputs.batch.global ? "batch.global" : "batch.per_rank",
         concat("a global batch of ", global, " has no equal parts for ", workers,
                " virtual workers; legal: a global batch of ", multiples_around(global, workers))});
  } else if (auto problem = check_micro(inputs.batch, global, workers)) {
    problems.push_back(std::move(*problem));
  }
  if (inputs.last_batch == LastBatch::kKeep && inputs.train_samples % global != 0) {
    problems.push_back(
        {"train.last_batch",
         concat("keep ends every epoch with a step of ", inputs.train_samples % global,
                " samples, and virtual workers need equal parts of ", global,
                " (run.determinism: world_size); legal: drop, wrap")});
  }
  return problems;
}

}  // namespace

void declare_options(OptionTable& table, BatchOptions& options) {
  const Range<int64_t> positive = at_least<int64_t>(1);
  table.add("batch.global", options.global, positive,
            {.description = "samples of one optimizer step, over all ranks"});
  table.add("batch.per_rank", options.per_rank, positive,
            {.description = "samples of one optimizer step on one rank"});
  table.add(
      "batch.micro", options.micro, positive,
      {.description = "samples that one forward pass on a rank sees; default: all of the rank's"});
  table.add("batch.max_micro", options.max_micro, positive,
            {.description = "at most so many samples in a forward pass: derives the accumulation"});
}

std::vector<OptionProblem> check(const BatchOptions& batch) {
  std::vector<OptionProblem> problems;
  if (!batch.global && !batch.per_rank) {
    problems.push_back({"batch",
                        "neither batch.global nor batch.per_rank is given; legal: one of "
                        "them, or both where global = per_rank x ranks"});
  }
  if (batch.micro && batch.max_micro && *batch.micro > *batch.max_micro) {
    problems.push_back({"batch.micro", concat("micro ", *batch.micro, " is more than max_micro ",
                                              *batch.max_micro, "; legal: at most max_micro")});
  }
  if (batch.micro && batch.per_rank && *batch.per_rank % *batch.micro != 0) {
    problems.push_back(
        {"batch.micro",
         concat("per_rank ", *batch.per_rank, " is not a multiple of micro ", *batch.micro,
                "; legal: per_rank ", multiples_around(*batch.per_rank, *batch.micro),
                ", or max_micro instead of micro")});
  }
  if (batch.global && batch.per_rank && *batch.per_rank > *batch.global) {
    problems.push_back({"batch.per_rank", concat("per_rank ", *batch.per_rank,
                                                 " is more than global ", *batch.global)});
  }
  return problems;
}

SampleSpan split_evenly(SampleSpan whole, int64_t parts, int64_t index) {
  const int64_t base = whole.count / parts;
  const int64_t longer = whole.count % parts;
  return {whole.first + index * base + std::min(index, longer), base + (index < longer ? 1 : 0)};
}

std::optional<OptionProblem> check_shares(int64_t virtual_workers, int64_t world) {
  if (virtual_workers == 0) return std::nullopt;
  const std::vector<int64_t> legal = comm::tree_worlds(virtual_workers);
  if (std::find(legal.begin(), legal.end(), world) != legal.end()) return std::nullopt;
  std::string list;
  for (const int64_t ranks : legal) list += concat(list.empty() ? "" : ", ", ranks);
  const std::string why =
      virtual_workers == 1
          ? concat("1 virtual worker is trained by one rank alone, and here are ", world, " ranks")
          : concat(virtual_workers, " workers are summed in a binary tree, which ", world,
                   " ranks cannot share out");
  return OptionProblem{"run.virtual_workers",
                       concat(why, "; legal: ", legal.size() > 1 ? "one of " : "", list,
                              legal.back() == 1 ? " rank" : " ranks",
                              ", or run.virtual_workers: ", workers_for(world, virtual_workers))};
}

std::vector<OptionProblem> BatchPlan::check(const Inputs& inputs) {
  const BatchOptions& batch = inputs.batch;
  std::vector<OptionProblem> problems = largo::check(batch);
  if (!problems.empty()) return problems;

  const auto [global, per_rank] = resolve(inputs);
  if (inputs.virtual_workers > 0) {
    problems = check_workers(inputs, global);
    if (!problems.empty()) return problems;
  }
  if (batch.global && batch.per_rank && global != *batch.per_rank * inputs.world) {
    problems.push_back(
        {"batch.global",
         concat("global ", global, " is not per_rank ", *batch.per_rank, " x ", inputs.world,
                " ranks = ", *batch.per_rank * inputs.world, "; legal: global ",
                *batch.per_rank * inputs.world, ", or as many ranks as ",
                legal_worlds(global, *batch.per_rank) == "none" || global % *batch.per_rank != 0
                    ? std::string("give a whole number of per_rank batches")
                    : std::to_string(global / *batch.per_rank))});
    return problems;
  }
  if (batch.micro && global % inputs.world == 0 && per_rank % *batch.micro != 0) {
    const int64_t unit = *batch.micro * inputs.world;
    problems.push_back(
        {"batch.micro",
         concat("global ", global, " is not a multiple of ", inputs.world, " ranks x micro ",
                *batch.micro, " = ", unit, "; legal: global ", multiples_around(global, unit),
                ", worlds of ", legal_worlds(global, *batch.micro),
                " ranks, or max_micro instead of micro")});
  }
  if (batch.micro && global % inputs.world != 0 && *batch.micro < per_rank) {
    problems.push_back(
        {"batch.micro",
         concat("global ", global, " on ", inputs.world, " ranks is up to ", per_rank,
                " samples per rank, which micro ", *batch.micro,
                " cannot cut evenly; legal: worlds of ", legal_worlds(global, *batch.micro),
                " ranks, or max_micro instead of micro")});
  }
  if (inputs.last_batch == LastBatch::kDrop && global > inputs.train_samples) {
    problems.push_back(
        {batch.global ? "batch.global" : "batch.per_rank",
         concat("a global batch of ", global, " is more than the ", inputs.train_samples,
                " training samples, and train.last_batch: drop leaves no step; legal: "
                "at most ",
                inputs.train_samples, ", or train.last_batch: keep or wrap")});
  }
  return problems;
}

BatchPlan::BatchPlan(const Inputs& inputs) : inputs_(inputs) {
  const auto problems = check(inputs);
  if (!problems.empty()) fail(ExitCode::kConfig, problems[0].key, ": ", problems[0].message);
  const auto [global, per_rank] = resolve(inputs);
  global_ = global;
  if (inputs.virtual_workers > 0) {
    micro_ = global / inputs.virtual_workers;
  } else if (inputs.batch.micro) {
    micro_ = std::min(*inputs.batch.micro, per_rank);
  } else if (inputs.batch.max_micro) {
    micro_ = divide_up(per_rank, divide_up(per_rank, *inputs.batch.max_micro));
  } else {
    micro_ = per_rank;
  }
  accumulation_ = divide_up(per_rank, micro_);
  if (inputs.last_batch == LastBatch::kDrop) steps_per_epoch_ = inputs.train_samples / global_;
  if (inputs.last_batch == LastBatch::kKeep) {
    steps_per_epoch_ = divide_up(inputs.train_samples, global_);
  }
  total_steps_ = steps_of(inputs.length);
}

SampleSpan BatchPlan::slice(int64_t step) const {
  if (steps_per_epoch_ == 0) return {step * global_, global_};
  const int64_t offset = step % steps_per_epoch_ * global_;
  return {step / steps_per_epoch_ * inputs_.train_samples + offset,
          std::min(global_, inputs_.train_samples - offset)};
}

BatchPlan BatchPlan::with_length(const Duration& length) const {
  Inputs inputs = inputs_;
  inputs.length = length;
  return BatchPlan(inputs);
}

double BatchPlan::epoch_at(int64_t step) const {
  if (steps_per_epoch_ == 0) {
    return static_cast<double>(step * global_) / static_cast<double>(inputs_.train_samples);
  }
  return static_cast<double>(step) / static_cast<double>(steps_per_epoch_);
}

int64_t BatchPlan::samples_after(int64_t steps) const {
  if (inputs_.last_batch != LastBatch::kKeep) return steps * global_;
  return steps / steps_per_epoch_ * inputs_.train_samples + steps % steps_per_epoch_ * global_;
}

SampleSpan BatchPlan::part(int64_t step, int64_t micro, int64_t rank) const {
  const SampleSpan of_rank = split_evenly(slice(step), inputs_.world, rank);
  return split_evenly(of_rank, accumulation_, micro);
}

std::vector<int64_t> BatchPlan::samples_per_rank(int64_t step, int64_t micro) const {
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < inputs_.world; ++rank) {
    counts.push_back(part(step, micro, rank).count);
  }
  return counts;
}

int64_t BatchPlan::steps_of(const Duration& duration) const {
  double steps = 0;
  switch (duration.unit) {
    case Duration::Unit::kSteps:
      return static_cast<int64_t>(std::ceil(duration.amount));
    case Duration::Unit::kSamples:
      steps = duration.amount / static_cast<double>(global_);
      break;
    case Duration::Unit::kEpochs:
      steps = steps_per_epoch_ > 0 ? duration.amount * static_cast<double>(steps_per_epoch_)
                                   : duration.amount * static_cast<double>(inputs_.train_samples) /
                                         static_cast<double>(global_);
      break;
  }
  // 0.1ep of 30 steps is 3 steps although 0.1 × 30 is a hair more than 3.
  return static_cast<int64_t>(std::ceil(steps * (1 - 1e-12)));
}

std::string BatchPlan::describe() const {
  std::string text = concat(global_, " = ", inputs_.world, inputs_.world == 1 ? " rank" : " ranks");
  if (global_ % inputs_.world == 0 && global_ / inputs_.world % accumulation_ == 0) {
    if (inputs_.virtual_workers > 0) {
      text += concat(" x ", accumulation_, " virtual worker", accumulation_ == 1 ? "" : "s");
    } else if (accumulation_ > 1) {
      text += concat(" x ", accumulation_);
    }
    return text + concat(" x ", micro_);
  }
  const int64_t per_rank = global_ / inputs_.world;
  const int64_t longer = global_ % inputs_.world;
  text += longer == 0 ? concat(" x ", per_rank)
                      : concat(" (", longer, " x ", per_rank + 1, " + ", inputs_.world - longer,
                               " x ", per_rank, ")");
  if (accumulation_ > 1) {
    text += concat(", each in ", accumulation_, " micro-batches of at most ", micro_);
  }
  return text;
}

}  // namespace largo
