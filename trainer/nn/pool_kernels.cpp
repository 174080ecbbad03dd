#include "trainer/nn/pool_kernels.h"

#include <algorithm>

namespace largo::nn {

namespace {

#define LARGO_INLINE inline __attribute__((always_inline))

LARGO_INLINE int32_t bits(float value) { return __builtin_bit_cast(int32_t, value); }
LARGO_INLINE float from_bits(int32_t value) { return __builtin_bit_cast(float, value); }
LARGO_INLINE int32_t all_bits(bool set) { return -static_cast<int32_t>(set); }

// Without branches, which nobody could predict, in what the compiler leaves out of vectors too. It
// makes vectors of loops over values of one width only: so places are 32 bits wide while they are
// compared, and narrowed a row at a time.
LARGO_INLINE void pool_channels(const float* __restrict x0, const float* __restrict x1,
                                const float* __restrict x2, const float* __restrict x3,
                                const float* __restrict bias, int64_t channels, float* __restrict y,
                                int32_t* __restrict which) {
  for (int64_t c = 0; c < channels; ++c) {
    float largest = x0[c];
    int32_t place = 0;
    const auto compare = [&](float other, int32_t k) {
      const int32_t is_larger = all_bits((other > largest) | (other != other));
      largest = from_bits((bits(other) & is_larger) | (bits(largest) & ~is_larger));
      place = (k & is_larger) | (place & ~is_larger);
    };
    compare(x1[c], 1);
    compare(x2[c], 2);
    compare(x3[c], 3);
    y[c] = largest + bias[c];
    which[c] = place;
  }
}

LARGO_INLINE void unpool_channels(const float* __restrict dy, const int32_t* __restrict which,
                                  int64_t channels, float* __restrict dx0, float* __restrict dx1,
                                  float* __restrict dx2, float* __restrict dx3,
                                  float* __restrict dbias) {
  for (int64_t c = 0; c < channels; ++c) {
    const float gradient = dy[c];
    const int32_t place = which[c];
    dx0[c] = from_bits(bits(gradient) & all_bits(place == 0));
    dx1[c] = from_bits(bits(gradient) & all_bits(place == 1));
    dx2[c] = from_bits(bits(gradient) & all_bits(place == 2));
    dx3[c] = from_bits(bits(gradient) & all_bits(place == 3));
    dbias[c] += gradient;
  }
}

struct Pooling {
  const PoolShape& shape;
  const float* x;
  const float* bias;
  float* y;
  uint8_t* which;
  int32_t* row;  // scratch
};

struct Unpooling {
  const PoolShape& shape;
  const float* dy;
  const uint8_t* which;
  float* dx;
  float* dbias;
  int32_t* row;  // scratch
};

LARGO_INLINE void pool(const Pooling& job) {
  const int64_t channels = job.shape.channels, row = job.shape.width * channels;
  const int64_t pooled_row = job.shape.pooled_row();
  for (int64_t h = 0; h < job.shape.height / 2; ++h) {
    float* const y = job.y + h * pooled_row;
    for (int64_t i = 0; i < pooled_row; i += channels) {
      const float *const left = job.x + 2 * h * row + 2 * i, *const below = left + row;
      pool_channels(left, left + channels, below, below + channels, job.bias, channels, y + i,
                    job.row + i);
    }
    uint8_t* const which = job.which + h * pooled_row;
    for (int64_t i = 0; i < pooled_row; ++i) which[i] = static_cast<uint8_t>(job.row[i]);
  }
}

LARGO_INLINE void unpool(const Unpooling& job) {
  const int64_t channels = job.shape.channels, row = job.shape.width * channels;
  const int64_t pooled_row = job.shape.pooled_row();
  for (int64_t h = 0; h < job.shape.height / 2; ++h) {
    const uint8_t* const which = job.which + h * pooled_row;
    for (int64_t i = 0; i < pooled_row; ++i) job.row[i] = which[i];
    const float* const dy = job.dy + h * pooled_row;
    float* const dx = job.dx + 2 * h * row;
    for (int64_t i = 0; i < pooled_row; i += channels) {
      float *const left = dx + 2 * i, *const below = left + row;
      unpool_channels(dy + i, job.row + i, channels, left, left + channels, below, below + channels,
                      job.dbias);
    }
    if (job.shape.width % 2 == 1) {
      std::fill_n(dx + row - channels, channels, 0.0F);
      std::fill_n(dx + 2 * row - channels, channels, 0.0F);
    }
  }
  if (job.shape.height % 2 == 1) {
    std::fill_n(job.dx + (job.shape.height - 1) * row, row, 0.0F);
  }
}

// Wider vectors leave more channels over and gain nothing: 20 channels take 2.6 times as long.
void pool_generic(const Pooling& job) { pool(job); }
LARGO_TARGET_AVX2 void pool_avx2(const Pooling& job) { pool(job); }

void unpool_generic(const Unpooling& job) { unpool(job); }
LARGO_TARGET_AVX2 void unpool_avx2(const Unpooling& job) { unpool(job); }

}  // namespace

void pool_image(const PoolShape& shape, const float* x, const float* bias, float* y, uint8_t* which,
                int32_t* scratch, CpuIsa isa) {
  const Pooling job = {shape, x, bias, y, which, scratch};
  isa == CpuIsa::kGeneric ? pool_generic(job) : pool_avx2(job);
}

void unpool_image(const PoolShape& shape, const float* dy, const uint8_t* which, float* dx,
                  float* dbias, int32_t* scratch, CpuIsa isa) {
  const Unpooling job = {shape, dy, which, dx, dbias, scratch};
  isa == CpuIsa::kGeneric ? unpool_generic(job) : unpool_avx2(job);
}

}  // namespace largo::nn
