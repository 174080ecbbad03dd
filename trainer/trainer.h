// The training loop.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/agreed_flags.h"
#include "comm/base/log.h"
#include "comm/communicator.h"
#include "comm/doing.h"
#include "comm/gradient_reducer.h"
#include "trainer/batch_plan.h"
#include "trainer/checkpoint/checkpointer.h"
#include "trainer/checkpoint/options.h"
#include "trainer/checkpoint_times.h"
#include "trainer/data/device_feed.h"
#include "trainer/data/options.h"
#include "trainer/data/sampler.h"
#include "trainer/data/skipped_samples.h"
#include "trainer/evaluate.h"
#include "trainer/gradient_monitor.h"
#include "trainer/metrics/progress.h"
#include "trainer/metrics/recorder.h"
#include "trainer/metrics/step_timer.h"
#include "trainer/nn/model.h"
#include "trainer/nn/options.h"
#include "trainer/nn/precise_statistics.h"
#include "trainer/nn/running_stats.h"
#include "trainer/nonfinite.h"
#include "trainer/optim/lr_controller.h"
#include "trainer/optim/optimizer.h"
#include "trainer/optim/rate_schedules.h"
#include "trainer/optim/weight_average.h"
#include "trainer/phase_clock.h"
#include "trainer/rank_check.h"
#include "trainer/run_options.h"
#include "trainer/run_state.h"
#include "trainer/step_profile.h"
#include "trainer/stopping.h"

namespace largo {

// What one step leaves for its record, on the model's device; sums over this rank's samples, under
// virtual workers over those of each of its workers.
struct StepResult {
  torch::Tensor loss_sum;   // of the per-sample losses
  torch::Tensor top1;       // samples that were right
  torch::Tensor grad_norm;  // of the reduced gradient: the same on every rank
  double lr = 0;            // that the update was made with
  bool skipped = false;     // there was no update: NonfiniteSteps
};

// Trains one model over all ranks of `world`. Everything referred to must outlive the trainer.
// Every rank makes the same calls. Throws AgreedError{kNumerical} when a gradient is not finite and
// train.on_nonfinite says so (see NonfiniteSteps), or weights are not that a checkpoint or the end
// would save: nothing is saved of such. Throws AgreedError{kInternal} when ranks do not hold the
// same parameters and buffers at the steps of RankCheck or at a checkpoint. On a GPU the host waits
// for it at those steps, while sums are verified, and at records, evaluations and checkpoints; in
// no other step, unless steps may be skipped, or the LR controller wants the sums of every step's
// gradient: it then waits in each.
class Trainer {
 public:
  struct Parts {
    const BatchPlan& plan;
    const TrainOptions& train;
    const EvalOptions& eval;
    const nn::LossOptions& loss;
    const checkpoint::CheckpointOptions& checkpoint;
    const data::DataOptions& data;
    data::Transform train_transform;
    data::Transform eval_transform;
    uint64_t seed = 1;
    Compute compute = {};

    comm::Communicator& world;
    std::vector<int> norm_ranks;  // ranks of `world` that synchronized normalization works over
    // Whether statistics of the batch make the gradients of ranks depend on one another.
    bool dependent_gradients = false;
    const data::Datasets& sets;
    nn::Model& model;
    nn::RunningStatistics& statistics;
    comm::GradientReducer& reducer;  // that sums squares where statistics of gradients are wanted
    optim::Optimizer& optimizer;
    optim::WeightAverage* average = nullptr;  // none: no moving average is kept
    optim::LrController& lr;
    optim::RateSchedules rates = {};  // of momentum and weight decay, on lr's clock
    checkpoint::Checkpointer& checkpoints;
    metrics::Recorder& recorder;
    metrics::Progress& progress;
    Log& log;

    // Saves the model's tensors as they are, as the run's result; a collective. `split` is "val"
    // for the weights and "val_ema" for their average. Called when training ends.
    std::function<void(const std::string& split)> save_result = [](const std::string&) {};

    // What ranks agree on from step to step; none: checkpoints come by steps only, and the run does
    // not stop before its end.
    comm::AgreedFlags* flags = nullptr;
    Stopping* stopping = nullptr;

    // Whether train.on_nonfinite counts; else every update is made.
    bool watches_gradients = true;

    RunIdentity identity = {};  // for checkpoints, and the configuration in YAML
    std::string config = {};

    // Told what this rank is busy with, and in which step, counted from 1: for whoever watches it.
    std::function<void(comm::Doing doing, int64_t step)> mark = [](comm::Doing, int64_t) {};

    std::optional<StepRange> profile = {};  // steps to record, and where
    std::filesystem::path profile_file = {};
  };

  // `from` is where training goes on: zero steps, or what the restored checkpoint said.
  Trainer(Parts parts, const RunState& from);

  // From there to the end, or to where the ranks agree to stop, and have saved a checkpoint;
  // returns the completed steps.
  int64_t fit();

  // Why fit() ended before the end: the bits of trainer/agreed_wishes.h; 0: it did not.
  Wishes stopped() const { return stopped_; }

  // One optimizer step over the global batch: update number `step`, counted from 0.
  StepResult train_step(int64_t step);

  // Of the weights, and of their average where one is kept; training does not notice.
  void evaluate_and_record(int64_t step);

  // Replaces the running statistics by those of the eval.precise_bn global batches before `step`
  // (of the first ones, early on).
  void take_precise_statistics(int64_t step);

  // Training samples that were replaced because they could not be read: on this rank, and on rank 0
  // also those of the checkpoint that it went on from.
  int64_t skipped() const;
  int64_t skipped_steps() const { return nonfinite_.skipped().total; }

  // Of the gradients of the steps so far; none: not known. On a GPU the host waits for it.
  std::optional<double> noise_scale();

  double time_s() const;                            // spent training, earlier parts included
  int64_t completed() const { return completed_; }  // steps
  const metrics::StepTimer& timer();

 private:
  // Sums since the last record.
  struct Interval {
    torch::Tensor loss_sum;
    torch::Tensor top1;
    torch::Tensor grad_norm;  // of the last step that was not skipped
    int64_t samples = 0;      // over all ranks
    double started_s = 0;
  };

  data::BatchRequest request(data::Sampler& sampler, int64_t number) const;
  nn::StepContext context(int64_t step, std::span<const int64_t> samples_of_group,
                          const std::vector<SampleKey>& keys) const;
  std::vector<int64_t> samples_of_group(int64_t step, int64_t micro) const;
  data::Batch next_batch();
  torch::Tensor forward(const data::Batch& batch, const nn::StepContext& context) const;
  void backward(const torch::Tensor& loss) const;
  double to_mean(int64_t step, int64_t micro) const;
  void update(int64_t step, StepResult& result);
  void apply(int64_t step, const StepResult& result);
  bool evaluates_after(int64_t step) const;
  int64_t evaluations_ahead() const;
  void evaluate_as(const std::string& split, int64_t step);
  data::SkippedSamples* counter(data::SkippedSamples& skipped) const;
  void check_skipped_samples(int64_t completed);
  std::string write_report(const NonfiniteStep& step) const;
  void check_parameters(int64_t completed);
  void check_state(int64_t completed);
  void mark(comm::Doing doing) const;
  bool by_worker() const { return parts_.plan.virtual_workers() > 0; }
  void add_to_interval(int64_t step, const StepResult& result);
  void record(int64_t completed, const StepResult& result);
  void train_to_end();
  Wishes agree();
  void save(int64_t completed);
  void record_written_checkpoints();

  Parts parts_;
  RunState from_;
  int64_t completed_;
  int64_t in_step_;        // the update under way, or the last
  data::Sampler sampler_;  // the loader's
  data::SkippedSamples skipped_train_;
  data::SkippedSamples skipped_val_;
  data::BatchFeed feed_;
  nn::PreciseStatistics precise_;
  metrics::StepTimer timer_;
  std::unique_ptr<PhaseClock> clock_;
  GradientMonitor gradients_;
  NonfiniteSteps nonfinite_;
  StepProfile profile_;
  Interval interval_;
  RankCheck rank_check_;
  CheckpointTimes checkpoint_times_;
  Wishes stopped_ = 0;
  std::map<int64_t, double> saving_since_s_;  // on rank 0, by step, until it is written
  double started_s_;                          // steady clock
};

}  // namespace largo
