// The training loop.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "comm/communicator.h"
#include "comm/gradient_reducer.h"
#include "trainer/batch_plan.h"
#include "trainer/checkpoint/checkpointer.h"
#include "trainer/checkpoint/options.h"
#include "trainer/data/loader.h"
#include "trainer/data/sampler.h"
#include "trainer/evaluate.h"
#include "trainer/metrics/progress.h"
#include "trainer/metrics/recorder.h"
#include "trainer/metrics/step_timer.h"
#include "trainer/nn/model.h"
#include "trainer/nn/options.h"
#include "trainer/nn/running_stats.h"
#include "trainer/optim/lr_controller.h"
#include "trainer/optim/optimizer.h"
#include "trainer/run_options.h"
#include "trainer/run_state.h"

namespace largo {

// What one step leaves for its record; sums over this rank's samples, on the model's device.
struct StepResult {
  torch::Tensor loss_sum;   // of the per-sample losses
  torch::Tensor top1;       // samples that were right
  torch::Tensor grad_norm;  // of the reduced gradient: the same on every rank
};

// Trains one model over all ranks of `world`. Everything referred to must outlive the trainer.
// Every rank makes the same calls. Throws AgreedError{kNumerical} when the loss or the gradient is
// no longer finite, which is looked at whenever a record is made.
class Trainer {
 public:
  struct Parts {
    const BatchPlan& plan;
    const TrainOptions& train;
    const EvalOptions& eval;
    const nn::LossOptions& loss;
    const checkpoint::CheckpointOptions& checkpoint;
    data::Transform transform;  // of the training samples; evaluation leaves its augmentation out
    int64_t workers = 1;        // of the loader
    uint64_t seed = 1;

    comm::Communicator& world;
    const data::Datasets& sets;
    nn::Model& model;
    nn::RunningStatistics& statistics;
    comm::GradientReducer& reducer;
    optim::Optimizer& optimizer;
    optim::LrController& lr;
    checkpoint::Checkpointer& checkpoints;
    metrics::Recorder& recorder;
    metrics::Progress& progress;
  };

  // `from` is where training goes on: zero steps, or what the restored checkpoint said.
  Trainer(Parts parts, const RunState& from);

  // From there to the end; returns the completed steps.
  int64_t fit();

  // One optimizer step over the global batch: update number `step`, counted from 0.
  StepResult train_step(int64_t step);

  EvalResult evaluate_and_record(int64_t step);

  double time_s() const;                            // spent training, earlier parts included
  int64_t completed() const { return completed_; }  // steps
  const metrics::StepTimer& timer() const { return timer_; }

 private:
  // Sums since the last record.
  struct Interval {
    torch::Tensor loss_sum;
    torch::Tensor top1;
    int64_t samples = 0;  // over all ranks
    double started_s = 0;
  };

  void add_to_interval(int64_t step, const StepResult& result);
  void record(int64_t completed, const StepResult& result);
  bool is_checkpoint_step(int64_t completed);
  void save(int64_t completed);

  Parts parts_;
  RunState from_;
  int64_t completed_;
  data::Sampler sampler_;
  data::Loader loader_;
  metrics::StepTimer timer_;
  Interval interval_;
  double started_s_;         // steady clock
  double last_saved_s_ = 0;  // time_s() of the last checkpoint
};

}  // namespace largo
