// The trainer's evaluations.
#include <algorithm>

#include "comm/flight_record.h"
#include "trainer/trainer.h"

namespace largo {

bool Trainer::evaluates_after(int64_t step) const {
  const int64_t every = parts_.plan.steps_of(parts_.train.eval_every);
  return parts_.lr.done(step) || (every > 0 && step % every == 0) ||
         parts_.lr.wants_evaluation(step);
}

int64_t Trainer::evaluations_ahead() const {
  static_assert(kStepsUntilAgreed == comm::AgreedFlags::kLag);
  return evaluations_before_stop(completed_, [this](int64_t step) {
    return !parts_.lr.done(step - 1) && evaluates_after(step);
  });
}

void Trainer::evaluate_as(const std::string& split, int64_t step) {
  mark(comm::Doing::kEvaluation);
  const comm::CallName call("evaluation");
  const bool precise = parts_.eval.precise_bn > 0 && !precise_.empty();
  if (precise) take_precise_statistics(step);
  parts_.model.eval();
  const BatchPlan& plan = parts_.plan;
  const EvalResult result = evaluate(parts_.model, *parts_.sets.val, parts_.eval_transform,
                                     parts_.eval.batch, parts_.data.workers, parts_.world,
                                     counter(skipped_val_), parts_.compute, plan.virtual_workers());
  parts_.model.train();
  const metrics::EvalRecord record = {.step = step,
                                      .epoch = parts_.plan.epoch_at(step),
                                      .split = split,
                                      .loss = result.loss,
                                      .top1 = result.top1,
                                      .top5 = result.top5,
                                      .confidence = result.confidence,
                                      .samples = result.samples,
                                      .time_s = time_s()};
  parts_.recorder.eval(record);
  parts_.progress.eval(record);
  if (split == "val") {
    parts_.lr.observe_evaluation({.step = step, .loss = record.loss, .top1 = record.top1});
    checkpoint_times_.evaluated(step, record.top1);
  }
  if (parts_.lr.done(step)) parts_.save_result(split);
  if (precise) precise_.restore();
}

// Over the global batches of the last steps, so that the result does not depend on the world.
void Trainer::take_precise_statistics(int64_t step) {
  const torch::NoGradGuard no_grad;
  const BatchPlan& plan = parts_.plan;
  const int64_t first = std::max<int64_t>(0, step - parts_.eval.precise_bn);
  const int64_t steps = parts_.eval.precise_bn;
  const int64_t batches = steps * plan.accumulation();
  // Step by step, or worker by worker, each of which then has moments of its own.
  const auto number = [&](int64_t b) {
    return by_worker() ? b % steps * plan.accumulation() + b / steps : b;
  };
  data::Sampler sampler = data::make_sampler(parts_.data.shuffle, parts_.seed, *parts_.sets.train);
  data::BatchFeed feed(
      *parts_.sets.train, parts_.train_transform, parts_.data.workers,
      [&](int64_t b) { return request(sampler, first * plan.accumulation() + number(b)); }, 0,
      batches, counter(skipped_val_), parts_.compute.device, parts_.compute.resident);
  precise_.begin();
  for (int64_t b = 0; b < batches; ++b) {
    if (by_worker() && b > 0 && b % steps == 0) precise_.next_worker();
    const data::Batch batch = feed.next();
    const int64_t at = first + number(b) / plan.accumulation();
    const std::vector<int64_t> samples = samples_of_group(at, number(b) % plan.accumulation());
    forward(batch, context(at, samples, batch.keys));
  }
  precise_.finish(parts_.world);
}

}  // namespace largo
