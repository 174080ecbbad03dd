#include "trainer/trainer.h"

#include <chrono>
#include <cmath>
#include <utility>
#include <variant>

#include "comm/base/error.h"
#include "trainer/nn/loss.h"
#include "trainer/nn/state.h"

namespace largo {

namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Hands the time since the last lap to a phase. Wall time on the host, where CPU kernels run.
class PhaseClock {
 public:
  explicit PhaseClock(metrics::StepTimer& timer)
      : timer_(timer), start_s_(now_s()), last_s_(start_s_) {}
  void lap(metrics::Phase phase) {
    const double now = now_s();
    timer_.add(phase, now - std::exchange(last_s_, now));
  }
  ~PhaseClock() { timer_.end_step(now_s() - start_s_); }

 private:
  metrics::StepTimer& timer_;
  double start_s_;
  double last_s_;
};

// Every `every` completed steps, and at the end.
bool is_due(int64_t completed, int64_t every, int64_t total) {
  return completed == total || (every > 0 && completed % every == 0);
}

}  // namespace

Trainer::Trainer(Parts parts, const RunState& from)
    : parts_(std::move(parts)),
      from_(from),
      completed_(from.step),
      sampler_(parts_.seed, parts_.plan.train_samples()),
      loader_(
          *parts_.sets.train, parts_.transform, parts_.workers,
          [this](int64_t number) {
            const int64_t step = number / parts_.plan.accumulation();
            const int64_t micro = number % parts_.plan.accumulation();
            const SampleSpan mine = parts_.plan.part(step, micro, parts_.world.rank());
            return sampler_.keys(mine.first, mine.count);
          },
          from.step * parts_.plan.accumulation(),
          parts_.plan.total_steps() * parts_.plan.accumulation()),
      started_s_(now_s()) {
  interval_.started_s = started_s_;
  last_saved_s_ = from.time_s;
}

int64_t Trainer::fit() {
  const BatchPlan& plan = parts_.plan;
  const int64_t log_every = plan.steps_of(parts_.train.log_every);
  const int64_t eval_every = plan.steps_of(parts_.train.eval_every);
  while (!parts_.lr.done(completed_)) {
    const StepResult result = train_step(completed_);
    add_to_interval(completed_, result);
    const int64_t step = ++completed_;
    parts_.progress.step(step, plan.epoch_at(step), now_s());
    if (is_due(step, log_every, plan.total_steps())) record(step, result);
    if (is_due(step, eval_every, plan.total_steps())) evaluate_and_record(step);
    if (is_checkpoint_step(step)) save(step);
  }
  // A run of no steps has still a result: the initial weights'.
  if (plan.total_steps() == 0) evaluate_and_record(0);
  return completed_;
}

StepResult Trainer::train_step(int64_t step) {
  const BatchPlan& plan = parts_.plan;
  PhaseClock clock(timer_);
  StepResult result;
  parts_.reducer.begin_step();
  parts_.statistics.begin_step();
  const int64_t step_samples = plan.samples_in_step(step);
  for (int64_t micro = 0; micro < plan.accumulation(); ++micro) {
    const data::Batch batch = loader_.next();
    clock.lap(metrics::Phase::kData);
    const std::vector<int64_t> samples_per_rank = plan.samples_per_rank(step, micro);
    const nn::StepContext context = {.training = true,
                                     .step = step,
                                     .samples_per_rank = samples_per_rank,
                                     .step_samples = step_samples,
                                     .keys = batch.keys};
    const torch::Tensor logits = parts_.model.forward(batch.images, context);
    const torch::Tensor loss_sum =
        nn::cross_entropy_sum(logits, batch.labels, parts_.loss.label_smoothing);
    // The only division: by the samples of the whole step, so that sums over ranks are means.
    const torch::Tensor loss = loss_sum / static_cast<double>(step_samples);
    clock.lap(metrics::Phase::kForward);
    if (micro + 1 == plan.accumulation())
      parts_.reducer.arm();  // buckets leave during this backward
    loss.backward();
    clock.lap(metrics::Phase::kBackward);
    const torch::Tensor right = nn::top1_count(logits.detach(), batch.labels);
    result.loss_sum = micro == 0 ? loss_sum.detach() : result.loss_sum + loss_sum.detach();
    result.top1 = micro == 0 ? right : result.top1 + right;
  }
  parts_.reducer.wait();  // every gradient is now its mean over the global batch, on every rank
  clock.lap(metrics::Phase::kExposedComm);
  const torch::NoGradGuard no_grad;
  result.grad_norm = optim::grad_norm(parts_.reducer.gradients());
  parts_.optimizer.step(parts_.reducer.gradients(), parts_.lr.lr(step));
  parts_.statistics.apply();
  clock.lap(metrics::Phase::kOptimizer);
  return result;
}

void Trainer::add_to_interval(int64_t step, const StepResult& result) {
  if (!interval_.loss_sum.defined()) {
    interval_.loss_sum = torch::zeros({}, torch::kDouble);
    interval_.top1 = torch::zeros({}, torch::kLong);
  }
  interval_.loss_sum += result.loss_sum;
  interval_.top1 += result.top1;
  interval_.samples += parts_.plan.samples_in_step(step);
}

void Trainer::record(int64_t completed, const StepResult& result) {
  const torch::Tensor sums = torch::stack({interval_.loss_sum, interval_.top1.to(torch::kDouble)});
  parts_.world.all_reduce(sums).wait();
  const auto samples = static_cast<double>(interval_.samples);
  const double now = now_s();
  const metrics::TrainRecord record = {
      .step = completed,
      .epoch = parts_.plan.epoch_at(completed),
      .samples = parts_.plan.samples_after(completed),
      .loss = sums[0].item<double>() / samples,
      .top1 = sums[1].item<double>() / samples,
      .lr = parts_.lr.lr(completed - 1),
      .grad_norm = result.grad_norm.item<double>(),
      .samples_per_s = samples / (now - interval_.started_s),
      .time_s = time_s(),
  };
  parts_.recorder.train(record);
  parts_.progress.train(record);
  interval_ = {};
  interval_.started_s = now;
  parts_.lr.observe({.step = completed, .loss = record.loss, .grad_norm = record.grad_norm});
  // Both numbers are reduced, so all ranks decide alike.
  if (!std::isfinite(record.loss) || !std::isfinite(record.grad_norm)) {
    throw AgreedError(
        ExitCode::kNumerical,
        concat("training diverged: at step ", completed, " the loss is ", record.loss,
               " and the gradient's norm ", record.grad_norm, " (LR ", record.lr,
               "); a lower lr.base or a longer warm-up may help. The last checkpoint is kept"));
  }
}

EvalResult Trainer::evaluate_and_record(int64_t step) {
  const double start = now_s();
  parts_.model.eval();
  const EvalResult result = evaluate(parts_.model, *parts_.sets.val, parts_.transform,
                                     parts_.eval.batch, parts_.workers, parts_.world);
  parts_.model.train();
  const metrics::EvalRecord record = {.step = step,
                                      .epoch = parts_.plan.epoch_at(step),
                                      .split = "val",
                                      .loss = result.loss,
                                      .top1 = result.top1,
                                      .top5 = result.top5,
                                      .confidence = result.confidence,
                                      .samples = result.samples,
                                      .time_s = time_s()};
  parts_.recorder.eval(record);
  parts_.progress.eval(record);
  interval_.started_s += now_s() - start;  // the training rate is without evaluation
  return result;
}

bool Trainer::is_checkpoint_step(int64_t completed) {
  if (const auto* steps = std::get_if<Duration>(&parts_.checkpoint.every)) {
    return is_due(completed, parts_.plan.steps_of(*steps), parts_.plan.total_steps());
  }
  // By the clock of rank 0, so that all ranks save at the same step.
  const double every_s = std::get<Time>(parts_.checkpoint.every).seconds;
  const bool due = time_s() - last_saved_s_ >= every_s;
  torch::Tensor agreed = torch::full({1}, due ? 1 : 0, torch::kLong);
  parts_.world.broadcast(agreed, 0);
  return completed == parts_.plan.total_steps() || agreed.item<int64_t>() == 1;
}

void Trainer::save(int64_t completed) {
  const double start = now_s();
  const RunState state = {.step = completed,
                          .time_s = time_s(),
                          .world = parts_.world.size(),
                          .bucket_order = parts_.reducer.order(),
                          .lr_state = parts_.lr.state()};
  const auto folder = parts_.checkpoints.save(completed, {.model = nn::state_tensors(parts_.model),
                                                          .optimizer = parts_.optimizer.state(),
                                                          .json = to_json(state)});
  parts_.recorder.checkpoint(completed, parts_.plan.epoch_at(completed), folder, time_s());
  last_saved_s_ = time_s();
  interval_.started_s += now_s() - start;
}

double Trainer::time_s() const { return from_.time_s + now_s() - started_s_; }

}  // namespace largo
