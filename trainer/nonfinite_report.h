// What a run says of the step that ended it, for people: a file in its directory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/gradient_reducer.h"
#include "trainer/batch_plan.h"
#include "trainer/data/sampler.h"
#include "trainer/metrics/recorder.h"
#include "trainer/nn/model.h"

namespace largo {

struct NonfiniteStep {
  // The first whose gradient is not finite, or after which weights are not; counted from 1.
  int64_t step = 0;
  bool in_weights = false;  // its update made them so, whose gradient may be finite
  double lr = 0;
  double grad_norm = 0;  // of the reduced gradient
  // The step that the losses, the gradient and the parameters below are of: on a GPU a later one.
  int64_t seen_in_step = 0;
  std::vector<double> loss_sum_by_rank = {};
  int64_t skipped_in_a_row = 0;  // before it
};

// Writes the report, on rank 0; returns the words that name the file: empty where there is none.
using WriteReport = std::function<std::string(const NonfiniteStep&)>;

std::string report_name(const NonfiniteStep& step);  // "nonfinite-step-00000123.json"

// JSON: what was found not finite, "gradient" or "weights"; step, epoch, LR, losses and their
// ranks; the norm of each parameter's gradient and how many of its values are not finite; which
// parameters and buffers are not finite themselves; and the step's samples, as indices into the
// training set, by rank and micro-batch. Numbers that are not finite are the words "nan", "inf" and
// "-inf".
std::string nonfinite_report(const NonfiniteStep& step, const BatchPlan& plan,
                             data::Sampler sampler, const nn::Model& model,
                             const comm::GradientReducer& reducer);

// Into the run's directory. What goes wrong is in the words that are returned: the run's own end
// must come through.
std::string write_nonfinite_report(const NonfiniteStep& step, const BatchPlan& plan,
                                   data::Sampler sampler, const nn::Model& model,
                                   const comm::GradientReducer& reducer,
                                   metrics::Recorder& recorder);

}  // namespace largo
