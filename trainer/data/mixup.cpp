#include "trainer/data/mixup.h"

#include <cmath>

#include "trainer/base/keyed_random.h"

namespace largo::data {

namespace {

// The logarithm of a number from Gamma(alpha), less a constant that depends on alpha alone: so
// that neither small nor large alphas overflow. Marsaglia & Tsang 2000, "A simple method for
// generating gamma variables", with the boost of its section 6 below 1.
double log_gamma_sample(double alpha, KeyedRandom& random) {
  if (alpha < 1) {
    const double boost = std::log(1 - random.uniform()) / alpha;  // of (0, 1]
    return log_gamma_sample(alpha + 1, random) + boost;
  }
  const double d = alpha - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), u = random.uniform();
    if (1 + c * x <= 0) continue;
    const double log_v = 3 * std::log1p(c * x);
    // The squeeze accepts nearly always, whatever rounding makes of the exact test at large d.
    if (u < 1 - 0.0331 * x * x * x * x) return log_v;
    if (std::log(u) < x * x / 2 + d * (1 - std::exp(log_v) + log_v)) return log_v;
  }
}

}  // namespace

double draw_mix(double alpha, uint64_t seed, int64_t step) {
  constexpr double kTiny = 1e-100;  // Beta is then 0 or 1 in every digit
  if (alpha < kTiny) return 1;
  KeyedRandom random(seed, Purpose::kMixup, 0, static_cast<uint64_t>(step));
  // a / (a + b) of two gamma numbers is Beta's; exp() of the larger one over it is at most 1.
  const double a = log_gamma_sample(alpha, random);
  const double b = log_gamma_sample(alpha, random);
  return 1 / (1 + std::exp(-std::abs(a - b)));
}

template <class T>
void mix_with_next(T* images, int64_t count, int64_t values, double mix) {
  const T own = static_cast<T>(mix), other = static_cast<T>(1 - mix);
  for (int64_t i = 0; i < count * values; ++i) {
    images[i] = own * images[i] + other * images[i + values];
  }
}

template void mix_with_next(float*, int64_t, int64_t, double);
template void mix_with_next(double*, int64_t, int64_t, double);

}  // namespace largo::data
