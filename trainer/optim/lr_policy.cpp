#include "trainer/optim/lr_policy.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

// cos(pi x / 2)^2 = (1 + cos(pi x)) / 2, which does not cancel near its end.
double half_wave(double x) {
  const double c = std::cos(std::numbers::pi / 2 * x);
  return c * c;
}

// The part of the way that is left at x in [0, 1].
double remaining(Anneal anneal, double x) {
  switch (anneal) {
    case Anneal::kLinear:
      return 1 - x;
    case Anneal::kCosine:
      return half_wave(x);
    case Anneal::kOneMinusSqrt:
      return 1 - std::sqrt(x);
  }
  return 0;
}

// How far t is on the way from begin to end, in [0, 1]; the whole way where there is none.
double progress(double t, double begin, double end) {
  return end > begin ? std::clamp((t - begin) / (end - begin), 0.0, 1.0) : 1;
}

}  // namespace

double completed_lengths(double t, double length) {
  double n = std::floor(t / length);
  if ((n + 1) * length <= t) ++n;
  if (n * length > t) --n;
  return n;
}

Policy constant_policy(double start) {
  return [=](double) { return start; };
}

Policy step_policy(double start, double gamma, double length) {
  return [=](double t) { return start * std::pow(gamma, completed_lengths(t, length)); };
}

Policy multistep_policy(double start, double gamma, std::vector<double> at) {
  return [=, at = std::move(at)](double t) {
    const auto passed = std::count_if(at.begin(), at.end(), [t](double b) { return b <= t; });
    return start * std::pow(gamma, static_cast<double>(passed));
  };
}

Policy exponential_policy(double start, double gamma, double length) {
  return [=](double t) { return start * std::pow(gamma, t / length); };
}

Policy inverse_policy(double start, double gamma, double power) {
  return [=](double t) { return start * std::pow(1 + gamma * t, -power); };
}

Policy polynomial_policy(double start, double end, double power, double length) {
  return [=](double t) {
    if (t >= length) return end;
    return (start - end) * std::pow(1 - t / length, power) + end;
  };
}

Policy sigmoid_policy(double top, double gamma, double middle) {
  return [=](double t) { return top / (1 + std::exp(-gamma * (t - middle))); };
}

Policy cosine_policy(double start, double end, double length) {
  return [=](double t) {
    if (t >= length) return end;
    return end + (start - end) * half_wave(t / length);
  };
}

Policy inverse_sqrt_policy(double start, double timescale) {
  return [=](double t) { return start / std::sqrt((t + timescale) / timescale); };
}

Policy sigmoid_decay_policy(double top, double low, double kappa, double length, double cycles) {
  return [=](double t) {
    const double cycle = length / cycles;
    double x = 1;
    if (t < length) x = std::clamp((t - completed_lengths(t, cycle) * cycle) / cycle, 0.0, 1.0);
    return low + (top - low) / (1 + std::exp(kappa * (2 * x - 1)));
  };
}

Policy stable_decay_policy(double start, double min_ratio, double stable, double decay,
                           Anneal anneal) {
  return [=](double t) {
    if (t < stable) return start;
    const double left = remaining(anneal, progress(t, stable, stable + decay));
    return start * (min_ratio + (1 - min_ratio) * left);
  };
}

Policy trapezoid_policy(const Trapezoid& s) {
  const double cycle = s.up + s.flat + s.down;
  LARGO_CHECK(cycle > 0, "a trapezoid of no length");
  return [s, cycle](double t) {
    const double n = completed_lengths(t, cycle);
    if (n >= s.cycles) return s.end;
    const double at = std::max(t - n * cycle, 0.0);
    if (at < s.up) return s.start + (s.peak - s.start) * (at / s.up);
    return s.peak +
           (s.end - s.peak) * (at < s.up + s.flat ? 0 : progress(at, s.up + s.flat, cycle));
  };
}

Policy phases_policy(std::vector<double> levels, std::vector<double> at, Anneal anneal) {
  LARGO_CHECK(levels.size() == at.size() + 1, levels.size(), " levels and ", at.size(), " times");
  return [levels = std::move(levels), at = std::move(at), anneal](double t) {
    double begin = 0;
    for (size_t i = 0; i < at.size(); ++i) {
      if (t <= at[i]) {
        const double left = remaining(anneal, progress(t, begin, at[i]));
        return levels[i + 1] + (levels[i] - levels[i + 1]) * left;
      }
      begin = at[i];
    }
    return levels.back();
  };
}

std::vector<double> one_cycle_times(double pct_start, double total) {
  return {pct_start * total, total};
}

std::vector<double> one_cycle_torch_times(double pct_start, double total, bool three_phase) {
  if (!three_phase) return {pct_start * total - 1, total - 1};
  return {pct_start * total - 1, 2 * pct_start * total - 2, total - 1};
}

Policy piecewise_policy(std::vector<double> at, std::vector<Policy> pieces) {
  LARGO_CHECK(pieces.size() == at.size() + 1, pieces.size(), " pieces and ", at.size(), " bounds");
  return [at = std::move(at), pieces = std::move(pieces)](double t) {
    const auto passed = std::upper_bound(at.begin(), at.end(), t) - at.begin();
    return pieces[static_cast<size_t>(passed)](passed == 0 ? t : t - at[passed - 1]);
  };
}

Policy product_policy(double start, std::vector<Policy> factors) {
  return [start, factors = std::move(factors)](double t) {
    double lr = start;
    for (const Policy& factor : factors) lr *= factor(t);
    return lr;
  };
}

}  // namespace largo::optim
