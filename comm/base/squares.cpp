#include "comm/base/squares.h"

#include <array>

namespace largo {

namespace {

template <class Number>
inline __attribute__((always_inline)) double sum_in_lanes(const Number* values, int64_t count) {
  constexpr int64_t kLanes = 64;  // eight chains of AVX-512, to hide the latency of an addition
  std::array<double, kLanes> lanes{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      lanes[lane] += value * value;
    }
  }
  for (; i < count; ++i) {
    const double value = values[i];
    lanes[0] += value * value;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

double sum_generic(const float* values, int64_t count) { return sum_in_lanes(values, count); }
LARGO_TARGET_AVX2 double sum_avx2(const float* values, int64_t count) {
  return sum_in_lanes(values, count);
}
LARGO_TARGET_AVX512 double sum_avx512(const float* values, int64_t count) {
  return sum_in_lanes(values, count);
}

}  // namespace

double sum_of_squares(const float* values, int64_t count, CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kGeneric:
      break;
    case CpuIsa::kAvx2:
      return sum_avx2(values, count);
    case CpuIsa::kAvx512:
      return sum_avx512(values, count);
  }
  return sum_generic(values, count);
}

double sum_of_squares(const double* values, int64_t count) { return sum_in_lanes(values, count); }

}  // namespace largo
