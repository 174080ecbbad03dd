#include "trainer/nn/pool_kernels.h"

#include <algorithm>
#include <type_traits>

#include "trainer/nn/kernels/stored_types.h"

namespace largo::nn {

namespace {

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

// Numbers as float32, where they lie or in `room`.
template <class Type>
LARGO_INLINE const float* loaded(const typename Type::Stored* from, int64_t count, float* room) {
  if constexpr (std::is_same_v<Type, Float>) {
    return from;
  } else {
    for (int64_t i = 0; i < count; ++i) room[i] = Type::load(from[i]);
    return room;
  }
}

// Where numbers are written as float32 that stored() then brings to `to`: there itself or `room`.
template <class Type>
LARGO_INLINE float* target(typename Type::Stored* to, float* room) {
  if constexpr (std::is_same_v<Type, Float>) {
    return to;
  } else {
    return room;
  }
}
template <class Type>
LARGO_INLINE void stored(const float* numbers, int64_t count, typename Type::Stored* to) {
  if constexpr (!std::is_same_v<Type, Float>) {
    for (int64_t i = 0; i < count; ++i) to[i] = Type::store(numbers[i]);
  }
}

template <class Type>
struct Pooling {
  const PoolShape& shape;
  const typename Type::Stored* x;
  const float* bias;
  typename Type::Stored* y;
  uint8_t* which;
  PoolScratch& scratch;
};

template <class Type>
struct Unpooling {
  const PoolShape& shape;
  const typename Type::Stored* dy;
  const uint8_t* which;
  typename Type::Stored* dx;
  float* dbias;
  PoolScratch& scratch;
};

template <class Type>
LARGO_INLINE void pool(const Pooling<Type>& job) {
  const int64_t channels = job.shape.channels, row = job.shape.width * channels;
  const int64_t pooled_row = job.shape.pooled_row();
  float* const room = job.scratch.numbers.data();
  int32_t* const places = job.scratch.places.data();
  for (int64_t h = 0; h < job.shape.height / 2; ++h) {
    const float* const x = loaded<Type>(job.x + 2 * h * row, 2 * row, room);
    float* const y = target<Type>(job.y + h * pooled_row, room + 2 * row);
    for (int64_t i = 0; i < pooled_row; i += channels) {
      const float *const left = x + 2 * i, *const below = left + row;
      pool_channels(left, left + channels, below, below + channels, job.bias, channels, y + i,
                    places + i);
    }
    stored<Type>(y, pooled_row, job.y + h * pooled_row);
    uint8_t* const which = job.which + h * pooled_row;
    for (int64_t i = 0; i < pooled_row; ++i) which[i] = static_cast<uint8_t>(places[i]);
  }
}

template <class Type>
LARGO_INLINE void unpool(const Unpooling<Type>& job) {
  const int64_t channels = job.shape.channels, row = job.shape.width * channels;
  const int64_t pooled_row = job.shape.pooled_row();
  float* const room = job.scratch.numbers.data();
  int32_t* const places = job.scratch.places.data();
  for (int64_t h = 0; h < job.shape.height / 2; ++h) {
    const uint8_t* const which = job.which + h * pooled_row;
    for (int64_t i = 0; i < pooled_row; ++i) places[i] = which[i];
    const float* const dy = loaded<Type>(job.dy + h * pooled_row, pooled_row, room + 2 * row);
    float* const dx = target<Type>(job.dx + 2 * h * row, room);
    for (int64_t i = 0; i < pooled_row; i += channels) {
      float *const left = dx + 2 * i, *const below = left + row;
      unpool_channels(dy + i, places + i, channels, left, left + channels, below, below + channels,
                      job.dbias);
    }
    if (job.shape.width % 2 == 1) {
      std::fill_n(dx + row - channels, channels, 0.0F);
      std::fill_n(dx + 2 * row - channels, channels, 0.0F);
    }
    stored<Type>(dx, 2 * row, job.dx + 2 * h * row);
  }
  if (job.shape.height % 2 == 1) {
    std::fill_n(job.dx + (job.shape.height - 1) * row, row, typename Type::Stored{});
  }
}

// Wider vectors leave more channels over and gain nothing: 20 channels take 2.6 times as long.
template <class Type>
void pool_generic(const Pooling<Type>& job) {
  pool(job);
}
template <class Type>
LARGO_TARGET_AVX2 void pool_avx2(const Pooling<Type>& job) {
  pool(job);
}
template <class Type>
void pool_by(CpuIsa isa, const Pooling<Type>& job) {
  isa == CpuIsa::kGeneric ? pool_generic(job) : pool_avx2(job);
}

template <class Type>
void unpool_generic(const Unpooling<Type>& job) {
  unpool(job);
}
template <class Type>
LARGO_TARGET_AVX2 void unpool_avx2(const Unpooling<Type>& job) {
  unpool(job);
}
template <class Type>
void unpool_by(CpuIsa isa, const Unpooling<Type>& job) {
  isa == CpuIsa::kGeneric ? unpool_generic(job) : unpool_avx2(job);
}

}  // namespace

void pool_image(const PoolShape& shape, const float* x, const float* bias, float* y, uint8_t* which,
                PoolScratch& scratch, CpuIsa isa) {
  pool_by(isa, Pooling<Float>{shape, x, bias, y, which, scratch});
}

void pool_image(const PoolShape& shape, const uint16_t* x, const float* bias, uint16_t* y,
                uint8_t* which, PoolScratch& scratch, CpuIsa isa) {
  pool_by(isa, Pooling<Bfloat16>{shape, x, bias, y, which, scratch});
}

void unpool_image(const PoolShape& shape, const float* dy, const uint8_t* which, float* dx,
                  float* dbias, PoolScratch& scratch, CpuIsa isa) {
  unpool_by(isa, Unpooling<Float>{shape, dy, which, dx, dbias, scratch});
}

void unpool_image(const PoolShape& shape, const uint16_t* dy, const uint8_t* which, uint16_t* dx,
                  float* dbias, PoolScratch& scratch, CpuIsa isa) {
  unpool_by(isa, Unpooling<Bfloat16>{shape, dy, which, dx, dbias, scratch});
}

}  // namespace largo::nn
