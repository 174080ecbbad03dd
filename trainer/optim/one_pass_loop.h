// The loop of updates on the CPU over their elements.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "comm/base/cpu_isa.h"

// For operator() of an element: it is compiled for each instruction set.
#define LARGO_INLINE inline __attribute__((always_inline))

namespace largo::optim {

// Elements are taken by value: what they hold cannot change under the loop's stores.
template <class Element>
void each_generic(Element element, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) element(i);
}
template <class Element>
LARGO_TARGET_AVX2 void each_avx2(Element element, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) element(i);
}
template <class Element>
LARGO_TARGET_AVX512 void each_avx512(Element element, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) element(i);
}

// element(i) for i from begin to end - 1, on this thread.
template <class Element>
void each(const Element& element, int64_t begin, int64_t end) {
  switch (best_cpu_isa()) {
    case CpuIsa::kGeneric:
      return each_generic(element, begin, end);
    case CpuIsa::kAvx2:
      return each_avx2(element, begin, end);
    case CpuIsa::kAvx512:
      return each_avx512(element, begin, end);
  }
}

constexpr int64_t kLeastPerThread = 1 << 15;  // elements that are worth a thread

// element(i) for i from 0 to count - 1, on as many threads as LibTorch's operations use.
template <class Element>
void each(const Element& element, int64_t count) {
  at::parallel_for(0, count, kLeastPerThread,
                   [&](int64_t begin, int64_t end) { each(element, begin, end); });
}

// use(p) for p from 0 to pieces - 1, each of so many elements, on all threads.
template <class Use>
void each_piece(int64_t pieces, int64_t elements, const Use& use) {
  at::parallel_for(0, pieces, std::max<int64_t>(1, kLeastPerThread / elements),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t p = begin; p < end; ++p) use(p);
                   });
}

}  // namespace largo::optim
