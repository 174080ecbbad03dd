#include "trainer/optim/lr_cycles.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

constexpr double kHalfPi = std::numbers::pi / 2;

// Where t is within a length, as a part of it: in [0, 1), exactly 0 at each multiple.
double part_of(double t, double length) {
  const double part = (t - completed_lengths(t, length) * length) / length;
  return std::clamp(part, 0.0, std::nextafter(1.0, 0.0));
}

// Up within the first half of the period, down within the second: by a modulo, as asin(sin x) loses
// half its digits at the peak.
double triangle(double t, double length) {
  const double x = 2 * part_of(t, 2 * length);
  return x <= 1 ? x : 2 - x;
}

double falling(double t, double length) {
  const double part = part_of(t, length);
  return part == 0 ? 0 : 1 - part;
}

// sin(pi x / 2)^2 = (1 - cos(pi x)) / 2, without cancellation near 0.
double sine_squared(double x) {
  const double s = std::sin(kHalfPi * x);
  return s * s;
}

double amplitude(Wave wave, double t, double length) {
  switch (wave) {
    case Wave::kTriangular:
      return triangle(t, length);
    case Wave::kTriangularDown:
      return triangle(t + length, length);
    case Wave::kSine:
      return std::sin(kHalfPi * triangle(t, length));
    case Wave::kSineDown:
      return std::sin(kHalfPi * triangle(t + length, length));
    case Wave::kCosine:
      return sine_squared(triangle(t + length, length));
    case Wave::kCosineUp:
      return sine_squared(triangle(t, length));
    case Wave::kSawtooth:
      return falling(t, length);
    case Wave::kSineSawtooth:
      return std::sin(kHalfPi * falling(t, length));
    case Wave::kCosineSawtooth:
      return sine_squared(falling(t, length));
  }
  return 0;
}

// Completed periods; one that starts at its top is half over at t = 0.
double periods(Wave wave, double t, double length) {
  switch (wave) {
    case Wave::kTriangular:
    case Wave::kSine:
    case Wave::kCosineUp:
      return completed_lengths(t, 2 * length);
    case Wave::kTriangularDown:
    case Wave::kSineDown:
    case Wave::kCosine:
      return completed_lengths(t + length, 2 * length);
    case Wave::kSawtooth:
    case Wave::kSineSawtooth:
    case Wave::kCosineSawtooth:
      return completed_lengths(t, length);
  }
  return 0;
}

double envelope(const Cycle& cycle, double t) {
  switch (cycle.envelope) {
    case Envelope::kNone:
      return 1;
    case Envelope::kHalving:
      return std::exp2(-periods(cycle.wave, t, cycle.length));
    case Envelope::kExponential:
      return std::pow(cycle.gamma, t / cycle.gamma_per);
  }
  return 1;
}

}  // namespace

Policy cycle_policy(const Cycle& cycle) {
  LARGO_CHECK(cycle.length > 0 && cycle.gamma_per > 0 && cycle.gamma > 0 && cycle.gamma <= 1,
              "a cycle of length ", cycle.length, ", gamma ", cycle.gamma, " per ",
              cycle.gamma_per);
  return [cycle](double t) {
    return cycle.k0 +
           (cycle.k1 - cycle.k0) * (amplitude(cycle.wave, t, cycle.length) * envelope(cycle, t));
  };
}

Policy cosine_restarts_policy(double start, double end, double length, int64_t t_mult) {
  LARGO_CHECK(length > 0 && t_mult >= 1, "restarts after ", length, ", times ", t_mult);
  return [=](double t) {
    // By a loop, as a logarithm is off by one at some restarts.
    double begin = 0;
    double cycle = length;
    if (t_mult == 1) {
      begin = completed_lengths(t, cycle) * cycle;
    } else {
      while (t >= begin + cycle) {
        begin += cycle;
        cycle *= static_cast<double>(t_mult);
      }
    }
    return cosine_policy(start, end, cycle)(std::max(t - begin, 0.0));
  };
}

}  // namespace largo::optim
