#include "trainer/trainer.h"

#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "comm/base/as_agreed.h"
#include "comm/base/error.h"
#include "comm/flight_record.h"
#include "comm/same_bits.h"
#include "trainer/data/mixup.h"
#include "trainer/nn/autocast.h"
#include "trainer/nn/loss.h"
#include "trainer/nn/state.h"
#include "trainer/optim/clip.h"
#include "trainer/skipped_counts.h"
#include "trainer/step_parts.h"
#include "trainer/worker_sums.h"

namespace largo {

namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Every `every` completed steps, and at the end.
bool is_due(int64_t completed, int64_t every, bool done) {
  return done || (every > 0 && completed % every == 0);
}

std::function<void(const std::string&)> warn_through(Log& log) {
  return [&log](const std::string& message) { log.warn_of_rank(message); };
}

}  // namespace

Trainer::Trainer(Parts parts, const RunState& from)
    : parts_(std::move(parts)),
      from_(from),
      completed_(from.step),
      in_step_(from.step),
      sampler_(data::make_sampler(parts_.data.shuffle, parts_.seed, *parts_.sets.train)),
      skipped_train_(parts_.sets.train->size(), warn_through(parts_.log)),
      skipped_val_(parts_.sets.val->size(), warn_through(parts_.log)),
      feed_(
          *parts_.sets.train, parts_.train_transform, parts_.data.workers,
          [this](int64_t number) { return request(sampler_, number); },
          from.step * parts_.plan.accumulation(),
          parts_.plan.total_steps() * parts_.plan.accumulation(), counter(skipped_train_),
          parts_.compute.device, parts_.compute.resident),
      precise_(parts_.model),
      clock_(make_phase_clock(timer_, parts_.compute.device)),
      gradients_(parts_.plan, parts_.lr),
      nonfinite_(parts_.train, from.skipped_steps, parts_.compute.device.is_cpu(), parts_.world,
                 parts_.log, [this](const NonfiniteStep& step) { return write_report(step); }),
      profile_(parts_.profile, !parts_.compute.device.is_cpu(), parts_.profile_file),
      rank_check_(from.step, parts_.plan.steps_of(parts_.train.check_every)),
      checkpoint_times_(parts_.checkpoint, parts_.plan, parts_.world.rank(), from),
      started_s_(now_s()) {
  interval_.started_s = started_s_;
  if (!from.noise_scale.empty()) gradients_.restore(from.noise_scale);
  if (parts_.world.rank() == 0) skipped_train_.restore(from.skipped_samples);
}

data::BatchRequest Trainer::request(data::Sampler& sampler, int64_t number) const {
  const BatchPlan& plan = parts_.plan;
  const int64_t step = number / plan.accumulation();
  const int64_t micro = number % plan.accumulation();
  const SampleSpan mine = plan.part(step, micro, parts_.world.rank());
  data::BatchRequest request = {.keys = sampler.keys(mine.first, mine.count),
                                .mix = data::draw_mix(parts_.data.mixup, parts_.seed, step)};
  if (request.mix < 1 && mine.count > 0) {
    // The next position of the global slice, which goes round: so the world does not matter.
    const SampleSpan slice = plan.slice(step);
    const int64_t next = mine.first + mine.count;
    request.after_last = sampler.key(next == slice.first + slice.count ? slice.first : next);
  }
  return request;
}

int64_t Trainer::fit() {
  try {
    train_to_end();
    mark(comm::Doing::kCheckpoint);
    parts_.checkpoints.finish();
  } catch (const AgreedError&) {
    mark(comm::Doing::kCheckpoint);
    parts_.checkpoints.wait_for_writer();
    record_written_checkpoints();
    throw;
  }
  record_written_checkpoints();
  return completed_;
}

void Trainer::train_to_end() {
  const BatchPlan& plan = parts_.plan;
  const int64_t log_every = plan.steps_of(parts_.train.log_every);
  while (!parts_.lr.done(completed_)) {
    profile_.before_step(completed_ + 1);
    const StepResult result = train_step(completed_);
    const int64_t step = ++completed_;
    profile_.after_step(step);
    if (rank_check_.is_due(step)) check_parameters(step);
    const bool done = parts_.lr.done(step);
    const Wishes agreed = agree();
    if (!done && Stopping::is_agreed(agreed)) stopped_ = agreed;
    const double trained_s = now_s();
    add_to_interval(step - 1, result);
    parts_.progress.step(step, parts_.lr.clock(step), plan.epoch_at(step), trained_s);
    if (is_due(step, log_every, done) || parts_.lr.wants_losses(step, false)) record(step, result);
    timer_.add_logging(now_s() - trained_s);
    if (evaluates_after(step)) evaluate_and_record(step);
    if (checkpoint_times_.is_due(step, done || stopped_ != 0, agreed)) {
      // A stop leaves no loss out of the records.
      const bool wanted = stopped_ != 0 || parts_.lr.wants_losses(step, true);
      if (interval_.samples > 0 && wanted) record(step, result);
      save(step);
    }
    record_written_checkpoints();
    if (stopped_ != 0) return;
  }
  // A run of no steps has still a result, the initial weights'; so has one that was killed between
  // its last checkpoint and its end.
  if (completed_ == from_.step) evaluate_and_record(completed_);
}

// Once after each step.
Wishes Trainer::agree() {
  if (parts_.flags == nullptr) return 0;
  Wishes wishes = checkpoint_times_.wishes(time_s());
  if (parts_.stopping != nullptr) {
    const int64_t evaluations = parts_.stopping->watches_time() ? evaluations_ahead() : 0;
    wishes |= parts_.stopping->wishes(now_s(), evaluations);
  }
  return parts_.flags->exchange(wishes);
}

StepResult Trainer::train_step(int64_t step) {
  const BatchPlan& plan = parts_.plan;
  const Stretch step_stretch("step");
  in_step_ = step;
  clock_->begin_step();
  StepResult result;
  parts_.reducer.begin_step();
  parts_.statistics.begin_step();
  const int64_t step_samples = plan.samples_in_step(step);
  std::vector<torch::Tensor> loss_sums, right;
  for (int64_t micro = 0; micro < plan.accumulation(); ++micro) {
    const data::Batch batch = next_batch();
    const std::vector<int64_t> samples = samples_of_group(step, micro);
    const torch::Tensor logits = forward(batch, context(step, samples, batch.keys));
    const torch::Tensor loss_sum = nn::cross_entropy_sum(
        logits, {batch.labels, batch.partner_labels, batch.mix}, parts_.loss.label_smoothing);
    // The only division: by the samples of the whole step, so that sums over ranks are means.
    const torch::Tensor loss = loss_sum / static_cast<double>(step_samples);
    clock_->lap(metrics::Phase::kForward);
    parts_.reducer.begin_micro_batch(to_mean(step, micro));
    if (micro + 1 == plan.accumulation())
      parts_.reducer.arm();  // buckets leave during this backward
    backward(loss);
    loss_sums.push_back(loss_sum.detach());
    right.push_back(nn::top1_count(logits.detach(), batch.labels));
  }
  result.loss_sum = sum_micro_batches(loss_sums, by_worker());
  result.top1 = sum_micro_batches(right, by_worker());
  mark(comm::Doing::kSumming);
  parts_.reducer.wait();  // every gradient is now its mean over the global batch, on every rank
  clock_->lap(metrics::Phase::kExposedComm);
  update(step, result);
  clock_->end_step();
  return result;
}

data::Batch Trainer::next_batch() {
  const Stretch stretch("data");
  mark(comm::Doing::kData);
  data::Batch batch = feed_.next();
  skipped_train_.train_on(batch.keys);
  clock_->lap(metrics::Phase::kData);
  mark(comm::Doing::kComputing);
  return batch;
}

torch::Tensor Trainer::forward(const data::Batch& batch, const nn::StepContext& context) const {
  const Stretch stretch("forward");
  const nn::Autocast autocast(parts_.compute.device.type(), parts_.compute.autocast);
  return parts_.model.forward(batch.images, context);
}

void Trainer::backward(const torch::Tensor& loss) const {
  const Stretch stretch("backward");
  const BackwardHere here;
  loss.backward(loss_seed(loss));
  clock_->lap(metrics::Phase::kBackward);
}

// From a gradient of the whole step's mean to that of this rank's micro-batch.
double Trainer::to_mean(int64_t step, int64_t micro) const {
  const int64_t mine = parts_.plan.part(step, micro, parts_.world.rank()).count;
  if (mine == 0) return 0;
  return static_cast<double>(parts_.plan.samples_in_step(step)) / static_cast<double>(mine);
}

void Trainer::update(int64_t step, StepResult& result) {
  const Stretch stretch("optimizer");
  mark(comm::Doing::kUpdating);
  const torch::NoGradGuard no_grad;
  result.grad_norm = optim::grad_norm(parts_.reducer.gradients());
  if (const torch::Tensor squares = parts_.reducer.micro_batch_squares(); squares.defined()) {
    gradients_.add(step, squares, result.grad_norm);
  }
  clock_->lap(metrics::Phase::kGradientSums);
  result.lr = parts_.lr.lr(step);
  result.skipped = parts_.watches_gradients &&
                   !nonfinite_.allows({step, result.lr, result.grad_norm, result.loss_sum});
  if (!result.skipped) apply(step, result);
  if (parts_.lr.wants_gradient_sums()) gradients_.collect();
  clock_->lap(metrics::Phase::kOptimizer);
}

// The update itself: all that a step changes but the LR controller.
void Trainer::apply(int64_t step, const StepResult& result) {
  if (parts_.train.clip_norm) {
    optim::clip_gradients(parts_.reducer.gradients(), result.grad_norm, *parts_.train.clip_norm);
  }
  parts_.optimizer.step(parts_.reducer.gradients(),
                        parts_.rates.at(result.lr, parts_.lr.clock(step)));
  parts_.statistics.apply();
  if (parts_.average) parts_.average->update();
}

std::vector<int64_t> Trainer::samples_of_group(int64_t step, int64_t micro) const {
  const std::vector<int64_t> of_all = parts_.plan.samples_per_rank(step, micro);
  std::vector<int64_t> of_group;
  for (const int rank : parts_.norm_ranks) of_group.push_back(of_all[static_cast<size_t>(rank)]);
  return of_group;
}

nn::StepContext Trainer::context(int64_t step, std::span<const int64_t> samples_of_group,
                                 const std::vector<SampleKey>& keys) const {
  return {.training = true,
          .step = step,
          .samples_per_rank = samples_of_group,
          .step_samples = parts_.plan.samples_in_step(step),
          .keys = keys};
}

void Trainer::add_to_interval(int64_t step, const StepResult& result) {
  if (!interval_.loss_sum.defined()) {
    const torch::TensorOptions here(parts_.compute.device);
    interval_.loss_sum = torch::zeros(result.loss_sum.sizes(), here.dtype(torch::kDouble));
    interval_.top1 = torch::zeros(result.top1.sizes(), here.dtype(torch::kLong));
    interval_.grad_norm = torch::full({}, NAN, here.dtype(torch::kDouble));
  }
  if (result.skipped) return;
  interval_.loss_sum += result.loss_sum;
  interval_.top1 += result.top1;
  interval_.grad_norm = result.grad_norm;
  interval_.samples += parts_.plan.samples_in_step(step);
}

void Trainer::record(int64_t completed, const StepResult& result) {
  mark(comm::Doing::kRecording);
  const comm::CallName call("record");
  const torch::Tensor sums =
      sum_over_ranks(torch::stack({interval_.loss_sum, interval_.top1.to(torch::kDouble)}),
                     by_worker(), parts_.world);
  // To the host in one go, which waits for the device.
  const torch::Tensor numbers =
      torch::cat({sums, interval_.grad_norm.to(torch::kDouble).view({1})}).cpu();
  parts_.world.barrier();  // throws where a sum has failed, whose garbage these numbers would be
  nonfinite_.check();
  const auto samples = static_cast<double>(interval_.samples);
  const double now = now_s();
  metrics::TrainRecord record = {
      .step = completed,
      .epoch = parts_.plan.epoch_at(completed),
      .samples = parts_.plan.samples_after(completed),
      .loss = numbers[0].item<double>() / samples,
      .top1 = numbers[1].item<double>() / samples,
      .lr = result.lr,
      .grad_norm = numbers[2].item<double>(),
      .clock = parts_.lr.clock(completed),
      .of_lr = parts_.lr.numbers(),
      .skipped_steps = skipped_steps(),
      .samples_per_s = samples / (now - interval_.started_s),
      .time_s = time_s(),
  };
  if (parts_.train.noise_scale != NoiseScaleWish::kOff) {
    record.noise_scale = noise_scale();
    record.noise_scale_biased = parts_.dependent_gradients;
  }
  parts_.recorder.train(record);
  parts_.progress.train(record);
  check_skipped_samples(completed);
  interval_ = {};
  interval_.started_s = now;
  parts_.lr.observe({.step = completed,
                     .loss_sum = numbers[0].item<double>(),
                     .grad_norm = record.grad_norm,
                     .samples = static_cast<int64_t>(samples)});
}

void Trainer::evaluate_and_record(int64_t step) {
  const double start = now_s();
  if (!parts_.compute.device.is_cpu()) {  // where steps are looked at later; here it waits anyway
    parts_.world.barrier();
    nonfinite_.check();
  }
  if (parts_.lr.done(step)) check_state(step);  // whose result is saved
  evaluate_as("val", step);
  if (parts_.average) {
    parts_.average->swap();
    evaluate_as("val_ema", step);
    parts_.average->swap();
  }
  const double took_s = now_s() - start;
  interval_.started_s += took_s;  // the training rate is without evaluation
  if (parts_.stopping != nullptr) parts_.stopping->evaluated_in(took_s);
}

// When it is complete, on rank 0, whose records they are.
void Trainer::record_written_checkpoints() {
  while (const auto written = parts_.checkpoints.take_written()) {
    parts_.recorder.checkpoint(written->step, parts_.plan.epoch_at(written->step), written->path,
                               time_s());
    const double since_s = saving_since_s_[written->step];
    saving_since_s_.erase(saving_since_s_.begin(), saving_since_s_.upper_bound(written->step));
    if (parts_.stopping != nullptr) parts_.stopping->saved_in(now_s() - since_s);
  }
}

data::SkippedSamples* Trainer::counter(data::SkippedSamples& skipped) const {
  return parts_.data.on_bad_sample == data::OnBadSample::kSkip ? &skipped : nullptr;
}

// Of each epoch, since one may have ended after the last look; over all ranks: they all stop, or
// none.
void Trainer::check_skipped_samples(int64_t completed) {
  if (parts_.data.on_bad_sample != data::OnBadSample::kSkip) return;
  for (const int64_t count :
       skipped_by_epoch(skipped_train_, parts_.plan, completed, parts_.world)) {
    as_agreed([&] { data::check_skipped(count, parts_.plan.train_samples()); });
  }
}

void Trainer::check_parameters(int64_t completed) {
  const comm::CallName call("comparison of ranks");
  comm::check_same_bits(nn::state_tensors(parts_.model), parts_.world,
                        concat("after step ", completed, rank_check_.since()));
  rank_check_.passed(completed);
}

// Before rank 0 saves it, on behalf of all.
void Trainer::check_state(int64_t completed) {
  if (!rank_check_.has_passed(completed)) check_parameters(completed);
  nonfinite_.check();
  nonfinite_.check_weights(nn::state_tensors(parts_.model));
}

// The first step of a process takes what warming up takes.
void Trainer::mark(comm::Doing doing) const {
  const bool first = completed_ == from_.step && !comm::may_take_long(doing);
  parts_.mark(first ? comm::Doing::kFirstStep : doing, in_step_ + 1);
}

const metrics::StepTimer& Trainer::timer() {
  clock_->collect();
  return timer_;
}

void Trainer::save(int64_t completed) {
  const double start = now_s();
  if (parts_.world.rank() == 0) saving_since_s_[completed] = start;
  mark(comm::Doing::kCheckpoint);
  const comm::CallName call("checkpoint");
  check_state(completed);
  const auto model_state = nn::state_tensors(parts_.model);
  gradients_.collect();
  const RunState state = {
      .step = completed,
      .time_s = time_s(),
      .identity = parts_.identity,
      .bucket_order = parts_.reducer.order(),
      .lr_state = parts_.lr.state(),
      .noise_scale = gradients_.state(),
      .skipped_steps = nonfinite_.skipped(),
      .skipped_samples = skipped_by_epoch(skipped_train_, parts_.plan, completed, parts_.world),
      .best_top1 = checkpoint_times_.best_top1()};
  auto optimizer_state = parts_.optimizer.state();
  if (parts_.average) {
    for (auto& tensor : parts_.average->state()) optimizer_state.push_back(std::move(tensor));
  }
  parts_.checkpoints.save(completed, {.model = model_state,
                                      .optimizer = optimizer_state,
                                      .json = to_json(state),
                                      .config = parts_.config,
                                      .top1 = checkpoint_times_.top1_of(completed)});
  checkpoint_times_.saved(completed, time_s());
  interval_.started_s += now_s() - start;
}

int64_t Trainer::skipped() const {
  const std::vector<int64_t> by_epoch = skipped_train_.trained_on();
  return std::accumulate(by_epoch.begin(), by_epoch.end(), int64_t{0});
}

// Not from sampler_, which the loader's threads are asking.
std::string Trainer::write_report(const NonfiniteStep& step) const {
  return write_nonfinite_report(
      step, parts_.plan, data::make_sampler(parts_.data.shuffle, parts_.seed, *parts_.sets.train),
      parts_.model, parts_.reducer, parts_.recorder);
}

std::optional<double> Trainer::noise_scale() {
  gradients_.collect();
  return gradients_.noise_scale();
}

double Trainer::time_s() const { return from_.time_s + now_s() - started_s_; }

}  // namespace largo
