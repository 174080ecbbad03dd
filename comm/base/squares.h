// Sums of squares in double precision.
#pragma once

#include <cstdint>

#include "comm/base/cpu_isa.h"

namespace largo {

// One order of additions whatever the machine's vectors are, and products that are exact: every
// instruction set makes the same bits.
double sum_of_squares(const float* values, int64_t count, CpuIsa isa = best_cpu_isa());

// In that order too; always without fused multiply-add, as products are not exact here.
double sum_of_squares(const double* values, int64_t count);

}  // namespace largo
