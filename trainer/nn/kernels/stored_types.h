// The types in which kernels find and leave numbers; their arithmetic is float32.
#pragma once

#include <cstdint>

#define LARGO_INLINE inline __attribute__((always_inline))

namespace largo::nn {

struct Float {
  using Stored = float;
  LARGO_INLINE static float load(float stored) { return stored; }
  LARGO_INLINE static float store(float value) { return value; }
};

struct Bfloat16 {
  using Stored = uint16_t;
  LARGO_INLINE static float load(uint16_t stored) {
    return __builtin_bit_cast(float, static_cast<uint32_t>(stored) << 16);
  }
  LARGO_INLINE static uint16_t store(float value) {  // to nearest even
    const auto bits = __builtin_bit_cast(uint32_t, value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
  }
};

}  // namespace largo::nn
