#include "comm/base/cpu_isa.h"

namespace largo {

const char* to_string(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kGeneric:
      return "generic";
    case CpuIsa::kAvx2:
      return "avx2";
    case CpuIsa::kAvx512:
      return "avx512";
  }
  return "";
}

bool supports(CpuIsa isa) {
#if defined(__x86_64__)
  // The compiler's library asks the operating system too, which has to save the registers.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  switch (isa) {
    case CpuIsa::kGeneric:
      return true;
    case CpuIsa::kAvx2:
      return avx2;
    case CpuIsa::kAvx512:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return isa == CpuIsa::kGeneric;
}

CpuIsa best_cpu_isa() {
  static const CpuIsa best = supports(CpuIsa::kAvx512) ? CpuIsa::kAvx512
                             : supports(CpuIsa::kAvx2) ? CpuIsa::kAvx2
                                                       : CpuIsa::kGeneric;
  return best;
}

}  // namespace largo
