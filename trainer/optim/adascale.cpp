#include "trainer/optim/adascale.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

constexpr double kLeastVariance = 1e-6;
constexpr const char* kKind = "adascale";

}  // namespace

double adascale_gain(double variance, double mean_square, double scale) {
  return (variance + mean_square) / (variance / scale + mean_square);
}

StepBounds adascale_bounds(int64_t base_steps, double scale) {
  return {static_cast<int64_t>(std::ceil(static_cast<double>(base_steps) / scale)), base_steps};
}

AdaScaleController::AdaScaleController(LrSchedule schedule, const Inputs& inputs)
    : schedule_(std::move(schedule)),
      inputs_(inputs),
      scale_(static_cast<double>(inputs.global_batch) / static_cast<double>(inputs.base_batch)) {
  LARGO_CHECK(scale_ >= 1, "a batch of ", inputs.global_batch, " is less than base_batch ",
              inputs.base_batch);
}

void AdaScaleController::check_step(int64_t step) const {
  LARGO_CHECK(step == step_, "step ", step, ", when ", step_, " is under way");
}

double AdaScaleController::gain() const {
  return samples_ == 0 ? 1 : adascale_gain(variance_, mean_square_, scale_);
}

double AdaScaleController::clock(int64_t step) const {
  check_step(step);
  return tau_;
}

double AdaScaleController::lr(int64_t step) const {
  check_step(step);
  return gain() * schedule_.lr(std::floor(tau_));
}

void AdaScaleController::observe_gradient(int64_t step, const GradientSums& sums) {
  check_step(step);
  last_gain_ = gain();
  tau_ += last_gain_;
  ++step_;
  const auto estimates = estimate(sums);
  if (!estimates) return;
  ++samples_;
  const double theta = std::max(1 - scale_ / 1000, 0.0);
  // 1 / samples makes a plain mean; it gives way where theta holds on for longer.
  const double weight = std::max(1 / static_cast<double>(samples_), 1 - theta);
  const double variance = estimates->variance / static_cast<double>(inputs_.base_batch);
  variance_ += weight * (std::max(variance, kLeastVariance) - variance_);
  mean_square_ += weight * (std::max(estimates->mean_square, 0.0) - mean_square_);
}

bool AdaScaleController::done(int64_t completed_steps) const {
  check_step(completed_steps);
  return tau_ >= static_cast<double>(inputs_.base_steps);
}

AdaScaleController::Numbers AdaScaleController::numbers() const {
  return {{"gain", last_gain_}, {"scale_invariant_steps", tau_}};
}

std::string AdaScaleController::state() const {
  const nlohmann::ordered_json json = {{"kind", kKind},
                                       {"base_batch", inputs_.base_batch},
                                       {"step", step_},
                                       {"tau", tau_},
                                       {"samples", samples_},
                                       {"variance", variance_},
                                       {"mean_square", mean_square_}};
  return json.dump();  // as many digits as it takes to read the same bits
}

void AdaScaleController::restore(std::string_view state) {
  if (state.empty()) {
    fail(ExitCode::kBadData,
         "the checkpoint is of a run with a fixed schedule; it has no state of AdaScale's to "
         "continue from");
  }
  try {
    const auto json = nlohmann::json::parse(state);
    if (json.at("kind") != kKind) fail(ExitCode::kBadData, "its kind is ", json.at("kind").dump());
    if (const auto base_batch = json.at("base_batch").get<int64_t>();
        base_batch != inputs_.base_batch) {
      fail(ExitCode::kBadData, "it counts steps of lr.base_batch ", base_batch, ", here it is ",
           inputs_.base_batch);
    }
    json.at("step").get_to(step_);
    json.at("tau").get_to(tau_);
    json.at("samples").get_to(samples_);
    json.at("variance").get_to(variance_);
    json.at("mean_square").get_to(mean_square_);
    const double gain_now = gain();
    if (step_ < 0 || !(tau_ >= 0) || samples_ < 0 || !(gain_now >= 1) || !(mean_square_ >= 0)) {
      fail(ExitCode::kBadData, "step ", step_, ", tau ", tau_, " and gain ", gain_now,
           " are none of its");
    }
  } catch (const std::exception& error) {
    fail(ExitCode::kBadData,
         "the checkpoint's state of the learning rate is not AdaScale's: ", error.what());
  }
}

}  // namespace largo::optim
