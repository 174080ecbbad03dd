#include "trainer/optim/lr_policy.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace largo::optim {

namespace {

// floor(t / length) that does not lose a whole multiple to the rounding of the division.
double completed_lengths(double t, double length) {
  double n = std::floor(t / length);
  if ((n + 1) * length <= t) ++n;
  if (n * length > t) --n;
  return n;
}

}  // namespace

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

Policy polynomial_policy(double start, double end, double power, double length) {
  return [=](double t) {
    if (t >= length) return end;
    return (start - end) * std::pow(1 - t / length, power) + end;
  };
}

Policy cosine_policy(double start, double end, double length) {
  return [=](double t) {
    if (t >= length) return end;
    // (1 + cos x) / 2 = cos(x / 2)^2, which does not cancel near the end.
    const double c = std::cos(std::numbers::pi / 2 * (t / length));
    return end + (start - end) * c * c;
  };
}

}  // namespace largo::optim
