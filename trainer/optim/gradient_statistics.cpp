#include "trainer/optim/gradient_statistics.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

constexpr double kDecay = 0.99;  // of one step

}  // namespace

std::optional<GradientEstimates> estimate(const GradientSums& sums) {
  if (sums.micro_batches < 2 || sums.samples < 1 || !sums.equal) return std::nullopt;
  if (!std::isfinite(sums.squares) || !std::isfinite(sums.mean_square)) return std::nullopt;
  const auto parts = static_cast<double>(sums.micro_batches);
  const auto big = static_cast<double>(sums.samples);
  const double small = big / parts;
  const double of_small = sums.squares / parts;  // mean of |g|^2 over micro-batches
  return GradientEstimates{
      .mean_square = (big * sums.mean_square - small * of_small) / (big - small),
      .variance = (of_small - sums.mean_square) / (1 / small - 1 / big),
  };
}

void NoiseScale::add(const GradientSums& sums) {
  const auto estimates = estimate(sums);
  if (!estimates) return;
  ++steps_;
  mean_square_ = kDecay * mean_square_ + (1 - kDecay) * estimates->mean_square;
  variance_ = kDecay * variance_ + (1 - kDecay) * estimates->variance;
}

std::optional<double> NoiseScale::value() const {
  if (steps_ == 0 || !(mean_square_ > 0)) return std::nullopt;
  return std::max(variance_, 0.0) / mean_square_;  // only averages are clamped
}

std::string NoiseScale::state() const {
  const nlohmann::ordered_json json = {
      {"steps", steps_}, {"mean_square", mean_square_}, {"variance", variance_}};
  return json.dump();  // as many digits as it takes to read the same bits
}

void NoiseScale::restore(std::string_view state) {
  try {
    const auto json = nlohmann::json::parse(state);
    NoiseScale read;
    json.at("steps").get_to(read.steps_);
    json.at("mean_square").get_to(read.mean_square_);
    json.at("variance").get_to(read.variance_);
    if (read.steps_ < 0) fail(ExitCode::kBadData, "steps ", read.steps_, " is negative");
    *this = read;
  } catch (const std::exception& error) {
    fail(ExitCode::kBadData,
         "the checkpoint's averages of the gradient noise are not such: ", error.what());
  }
}

}  // namespace largo::optim
