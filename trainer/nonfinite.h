// What is done about a step whose gradient is not finite: train.on_nonfinite.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/log.h"
#include "comm/communicator.h"
#include "trainer/batch_plan.h"
#include "trainer/nonfinite_report.h"
#include "trainer/run_options.h"
#include "trainer/run_state.h"

namespace largo {

// One verdict per step, on the norm of the reduced gradient: the same on every rank, without a
// collective of its own. (A loss that is not finite makes the gradient so: see loss_seed().)
//
// stop: on the CPU the update is not made, and the run ends in that step. On a GPU, where the host
// does not wait for a step, norms stay there until check() looks at them; the updates since are
// made. skip: the host waits for each step's norm, and the update is left out; more than
// train.max_skipped in a row end the run.
//
// The run ends by AgreedError{kNumerical} on every rank, once rank 0 has written a report.
// Everything referred to must outlive this object.
class NonfiniteSteps {
 public:
  // `on_host`: norms are on the host, where reading one waits for nothing.
  NonfiniteSteps(const TrainOptions& options, const SkippedSteps& before, bool on_host,
                 comm::Communicator& world, Log& log, WriteReport write_report);

  struct Step {
    int64_t number = 0;  // counted from 0
    double lr = 0;
    at::Tensor grad_norm;  // of the reduced gradient
    at::Tensor loss_sum;   // over this rank's samples, of any shape
  };

  // Whether the update may be made. Throws where the run must end; a collective then.
  bool allows(const Step& step);

  // What allows() has put off. Throws as it does; the host waits for the device. A collective.
  void check();

  // Of what the last step left, the same on every rank, which a checkpoint or the run's result is
  // to hold: an update may overflow weights that a finite gradient is for. Throws where they are
  // not finite; a collective then. The host waits for the device.
  void check_weights(const std::vector<std::pair<std::string, at::Tensor>>& tensors);

  const SkippedSteps& skipped() const { return skipped_; }

  static constexpr int64_t kMostInARow = 10;  // where train.max_skipped is left out

 private:
  void keep(const Step& step);
  [[noreturn]] void stop(const Step& first, double norm);
  NonfiniteStep with_losses(const Step& first, double norm) const;
  [[noreturn]] void end(const NonfiniteStep& found, std::string message,
                        const std::string& advice = {}) const;

  OnNonfinite policy_;
  bool reads_each_;
  int64_t most_in_a_row_;
  SkippedSteps skipped_;
  comm::Communicator& world_;
  Log& log_;
  WriteReport write_report_;
  Step last_;
  std::vector<Step> kept_;         // of which allows() has read no norm; without their tensors
  std::vector<at::Tensor> norms_;  // theirs, in pieces on the device
};

// What backward() begins with: 1, and NaN where the loss is not finite. A loss may be infinite
// while its gradient is not; this makes all ranks see it in the gradient's sum.
at::Tensor loss_seed(const at::Tensor& loss);

}  // namespace largo
