// Which vector instructions this processor has, so that one executable uses the widest anywhere.
//
// A function that gains from them is written once as an inline body and compiled several times:
//
//   template <class T> inline __attribute__((always_inline)) void body(T* values, int64_t n);
//   void add(float* v, int64_t n) { body(v, n); }
//   LARGO_TARGET_AVX2 void add_avx2(float* v, int64_t n) { body(v, n); }
//   LARGO_TARGET_AVX512 void add_avx512(float* v, int64_t n) { body(v, n); }
//
// and chosen at run time by best_cpu_isa(). The AVX2 and AVX-512 versions may fuse a * b + c.
#pragma once

namespace largo {

enum class CpuIsa { kGeneric, kAvx2, kAvx512 };  // each includes those before it

const char* to_string(CpuIsa isa);

// Whether this processor and its operating system support it.
bool supports(CpuIsa isa);

// The widest that is supported. Asks the processor once.
CpuIsa best_cpu_isa();

#if defined(__x86_64__) && defined(__clang__)
#define LARGO_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define LARGO_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#elif defined(__x86_64__)
#define LARGO_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define LARGO_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))
#else  // never chosen there
#define LARGO_TARGET_AVX2
#define LARGO_TARGET_AVX512
#endif

}  // namespace largo
