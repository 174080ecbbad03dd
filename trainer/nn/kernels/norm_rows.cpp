#include "trainer/nn/kernels/norm_rows.h"

#include <algorithm>

#include "trainer/nn/kernels/lanes.h"
#include "trainer/nn/kernels/stored_types.h"

namespace largo::nn {

namespace {

// Compiles `body`, which must be always_inline, for each instruction set.
template <class Body>
void run_generic(const Body& body) {
  body();
}
template <class Body>
LARGO_TARGET_AVX2 void run_avx2(const Body& body) {
  body();
}
template <class Body>
LARGO_TARGET_AVX512 void run_avx512(const Body& body) {
  body();
}
template <class Body>
void run(CpuIsa isa, const Body& body) {
  switch (isa) {
    case CpuIsa::kAvx512:
      return run_avx512(body);
    case CpuIsa::kAvx2:
      return run_avx2(body);
    case CpuIsa::kGeneric:
      return run_generic(body);
  }
}

template <class Use>
void with_type(RowType type, const Use& use) {
  type == RowType::kFloat ? use(Float{}) : use(Bfloat16{});
}

constexpr int64_t kBlock = 32;  // wide rows that are summed up in single precision

// Calls use(first lane of the matrix, lanes) for each wide row.
template <class Use>
LARGO_INLINE void for_each_row(const Lanes& lanes, const Use& use) {
  for (int64_t row = 0; row < lanes.rows; ++row) use(row * lanes.width, lanes.width);
  if (lanes.tail > 0) use(lanes.rows * lanes.width, lanes.tail);
}

// Calls use(first wide row, wide rows, lanes) for each block.
template <class Use>
LARGO_INLINE void for_each_block(const Lanes& lanes, const Use& use) {
  for (int64_t row = 0; row < lanes.rows; row += kBlock) {
    use(row, std::min(kBlock, lanes.rows - row), lanes.width);
  }
  if (lanes.tail > 0) use(lanes.rows, int64_t{1}, lanes.tail);
}

template <class Element>
LARGO_INLINE void add_values(const typename Element::Stored* __restrict x, int64_t n,
                             float* __restrict sum) {
  for (int64_t j = 0; j < n; ++j) sum[j] += Element::load(x[j]);
}

template <class Element>
LARGO_INLINE void add_deviations(const typename Element::Stored* __restrict x,
                                 const float* __restrict pivot, int64_t n, float* __restrict sum_z,
                                 float* __restrict sum_zz) {
  for (int64_t j = 0; j < n; ++j) {
    const float z = Element::load(x[j]) - pivot[j];
    sum_z[j] += z;
    sum_zz[j] += z * z;
  }
}

// The running moments of all lanes and `rows` more rows of the first `n`, by their sums.
LARGO_INLINE void merge_block(int64_t done, int64_t rows, int64_t n, const float* __restrict pivot,
                              const float* __restrict sum_z, const float* __restrict sum_zz,
                              double* __restrict mean, double* __restrict m2) {
  const double inverse = 1.0 / static_cast<double>(rows);
  const double share = static_cast<double>(rows) / static_cast<double>(done + rows);
  const double between = static_cast<double>(done) * share;
  for (int64_t j = 0; j < n; ++j) {
    const double s = sum_z[j];
    const double within = sum_zz[j] - s * s * inverse;
    const double delta = pivot[j] + s * inverse - mean[j];
    mean[j] += delta * share;
    m2[j] += (within < 0 ? 0 : within) + delta * delta * between;
  }
}

// A block's pivot is the mean of what came before it: what its sums lose if its own mean lies far
// from that is little beside what this distance adds to the squared deviations. The first block's
// is its own mean.
template <class Element>
LARGO_INLINE void moments_of_lanes(const Lanes& lanes, const typename Element::Stored* x,
                                   double* mean, double* m2) {
  Scratch<float> pivot(lanes.width), sum_z(lanes.width), sum_zz(lanes.width);
  for_each_block(
      lanes, [&](int64_t first, int64_t rows, int64_t n) __attribute__((always_inline)) {
        const auto* const block = x + first * lanes.width;
        if (first == 0) {
          sum_z.clear();
          for (int64_t row = 0; row < rows; ++row) {
            add_values<Element>(block + row * lanes.width, n, sum_z.data());
          }
          for (int64_t j = 0; j < n; ++j) pivot[j] = sum_z[j] / static_cast<float>(rows);
        } else {
          for (int64_t j = 0; j < n; ++j) pivot[j] = static_cast<float>(mean[j]);
        }
        sum_z.clear();
        sum_zz.clear();
        for (int64_t row = 0; row < rows; ++row) {
          add_deviations<Element>(block + row * lanes.width, pivot.data(), n, sum_z.data(),
                                  sum_zz.data());
        }
        merge_block(first, rows, n, pivot.data(), sum_z.data(), sum_zz.data(), mean, m2);
      });
}

LARGO_INLINE float positive(float value) { return value < 0 ? 0 : value; }

template <class Element, bool kResidual, bool kRelu>
LARGO_INLINE void normalize_row(const typename Element::Stored* __restrict x,
                                const typename Element::Stored* __restrict residual,
                                const float* __restrict pivot, const float* __restrict scale,
                                const float* __restrict shift, int64_t n,
                                typename Element::Stored* __restrict y) {
  for (int64_t j = 0; j < n; ++j) {
    float value = (Element::load(x[j]) - pivot[j]) * scale[j] + shift[j];
    if constexpr (kResidual) value += Element::load(residual[j]);
    y[j] = Element::store(kRelu ? positive(value) : value);
  }
}

enum class Mask : uint8_t { kNone, kFromX, kFromY };

// As PyTorch's: NaN lets the gradient through.
LARGO_INLINE float pass(float gradient, float output) { return output <= 0 ? 0 : gradient; }

// With AVX-512 the selection becomes a load that waits for the comparison: twice AVX2's time.
CpuIsa fastest(CpuIsa isa, Mask mask) {
  return mask != Mask::kNone && isa == CpuIsa::kAvx512 ? CpuIsa::kAvx2 : isa;
}

template <class Element, Mask kMask>
LARGO_INLINE void add_gradients(const typename Element::Stored* __restrict x,
                                const typename Element::Stored* __restrict dy,
                                const typename Element::Stored* __restrict y,
                                typename Element::Stored* __restrict masked,
                                const float* __restrict pivot, const float* __restrict scale,
                                const float* __restrict shift, int64_t n, float* __restrict sum_g,
                                float* __restrict sum_gz) {
  for (int64_t j = 0; j < n; ++j) {
    const float z = Element::load(x[j]) - pivot[j];
    float g = Element::load(dy[j]);
    if constexpr (kMask == Mask::kFromX) g = pass(g, z * scale[j] + shift[j]);
    if constexpr (kMask == Mask::kFromY) {
      g = pass(g, Element::load(y[j]));
      masked[j] = Element::store(g);
    }
    sum_g[j] += g;
    sum_gz[j] += g * z;
  }
}

template <class Element, Mask kMask>
LARGO_INLINE void gradient_row(const typename Element::Stored* __restrict x,
                               const typename Element::Stored* __restrict dy,
                               const float* __restrict pivot, const float* __restrict scale,
                               const float* __restrict shift, const float* __restrict of_g,
                               const float* __restrict of_z, const float* __restrict constant,
                               int64_t n, typename Element::Stored* __restrict dx) {
  for (int64_t j = 0; j < n; ++j) {
    const float z = Element::load(x[j]) - pivot[j];
    float g = Element::load(dy[j]);
    if constexpr (kMask == Mask::kFromX) g = pass(g, z * scale[j] + shift[j]);
    dx[j] = Element::store(of_g[j] * g + (of_z[j] * z + constant[j]));
  }
}

// What a void pointer of a matrix points to.
template <class Element>
const typename Element::Stored* in(const void* data) {
  return static_cast<const typename Element::Stored*>(data);
}
template <class Element>
typename Element::Stored* out(void* data) {
  return static_cast<typename Element::Stored*>(data);
}

template <class Element, bool kResidual, bool kRelu>
void normalize_all(const Rows& size, const ChannelLine& channel_line, const void* x,
                   const void* residual, void* y) {
  const Lanes lanes(size);
  const Line line(lanes, channel_line);
  run(
      size.isa, [&]() __attribute__((always_inline)) {
        for_each_row(
            lanes, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
              normalize_row<Element, kResidual, kRelu>(
                  in<Element>(x) + at, kResidual ? in<Element>(residual) + at : nullptr,
                  line.pivot.data(), line.scale.data(), line.shift.data(), n, out<Element>(y) + at);
            });
      });
}

template <class Element, Mask kMask>
void sum_all(const Rows& size, const ChannelLine& channel_line, const void* x,
             const RowGradient& gradient, void* masked, double* sum_g, double* sum_gz) {
  const Lanes lanes(size);
  const Line line(lanes, channel_line);
  Scratch<double> lane_g(lanes.width), lane_gz(lanes.width);
  Scratch<float> block_g(lanes.width), block_gz(lanes.width);
  run(
      fastest(size.isa, kMask), [&]() __attribute__((always_inline)) {
        for_each_block(
            lanes, [&](int64_t first, int64_t rows, int64_t n) __attribute__((always_inline)) {
              block_g.clear();
              block_gz.clear();
              for (int64_t row = first; row < first + rows; ++row) {
                const int64_t at = row * lanes.width;
                constexpr bool kFromY = kMask == Mask::kFromY;
                add_gradients<Element, kMask>(
                    in<Element>(x) + at, in<Element>(gradient.dy) + at,
                    kFromY ? in<Element>(gradient.y) + at : nullptr,
                    kFromY ? out<Element>(masked) + at : nullptr, line.pivot.data(),
                    line.scale.data(), line.shift.data(), n, block_g.data(), block_gz.data());
              }
              for (int64_t j = 0; j < n; ++j) {
                lane_g[j] += block_g[j];
                lane_gz[j] += block_gz[j];
              }
            });
      });
  std::fill_n(sum_g, lanes.channels, 0.0);
  std::fill_n(sum_gz, lanes.channels, 0.0);
  for (int64_t lane = 0; lane < lanes.width; ++lane) {
    sum_g[lane % lanes.channels] += lane_g[lane];
    sum_gz[lane % lanes.channels] += lane_gz[lane];
  }
}

template <class Element, Mask kMask>
void input_gradient_all(const Rows& size, const ChannelLine& channel_line, const GradientLine& by,
                        const void* x, const void* dy, void* dx) {
  const Lanes lanes(size);
  const Line line(lanes, channel_line);
  const Spread of_g(lanes, by.of_g), of_z(lanes, by.of_z), constant(lanes, by.constant);
  run(
      fastest(size.isa, kMask), [&]() __attribute__((always_inline)) {
        for_each_row(
            lanes, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
              gradient_row<Element, kMask>(in<Element>(x) + at, in<Element>(dy) + at,
                                           line.pivot.data(), line.scale.data(), line.shift.data(),
                                           of_g.data(), of_z.data(), constant.data(), n,
                                           out<Element>(dx) + at);
            });
      });
}

}  // namespace

void row_moments(const Rows& size, const void* x, double* mean, double* m2) {
  const Lanes lanes(size);
  Scratch<double> lane_mean(lanes.width), lane_m2(lanes.width);
  with_type(size.type, [&](auto element) {
    using Element = decltype(element);
    run(
        size.isa, [&]() __attribute__((always_inline)) {
          moments_of_lanes<Element>(lanes, in<Element>(x), lane_mean.data(), lane_m2.data());
        });
  });
  std::fill_n(mean, lanes.channels, 0.0);
  std::fill_n(m2, lanes.channels, 0.0);
  int64_t done = 0;
  for (int64_t lane = 0; lane < lanes.width; lane += lanes.channels) {
    const int64_t more = lanes.rows + (lane < lanes.tail ? 1 : 0);
    merge_moments(lanes.channels, done, mean, m2, more, &lane_mean[lane], &lane_m2[lane]);
    done += more;
  }
}

void merge_moments(int64_t channels, int64_t count, double* mean, double* m2, int64_t more,
                   const double* more_mean, const double* more_m2) {
  if (more == 0) return;
  const double share = static_cast<double>(more) / static_cast<double>(count + more);
  for (int64_t channel = 0; channel < channels; ++channel) {
    const double delta = more_mean[channel] - mean[channel];
    mean[channel] += delta * share;
    m2[channel] += more_m2[channel] + delta * delta * share * static_cast<double>(count);
  }
}

void normalize_rows(const Rows& size, const ChannelLine& line, const void* x, const void* residual,
                    bool relu, void* y) {
  with_type(size.type, [&](auto element) {
    using E = decltype(element);
    if (residual != nullptr) {
      relu ? normalize_all<E, true, true>(size, line, x, residual, y)
           : normalize_all<E, true, false>(size, line, x, residual, y);
    } else {
      relu ? normalize_all<E, false, true>(size, line, x, residual, y)
           : normalize_all<E, false, false>(size, line, x, residual, y);
    }
  });
}

void gradient_sums(const Rows& size, const ChannelLine& line, const void* x,
                   const RowGradient& gradient, void* masked, double* sum_g, double* sum_gz) {
  with_type(size.type, [&](auto element) {
    using E = decltype(element);
    if (!gradient.relu) {
      sum_all<E, Mask::kNone>(size, line, x, gradient, masked, sum_g, sum_gz);
    } else if (gradient.y == nullptr) {
      sum_all<E, Mask::kFromX>(size, line, x, gradient, masked, sum_g, sum_gz);
    } else {
      sum_all<E, Mask::kFromY>(size, line, x, gradient, masked, sum_g, sum_gz);
    }
  });
}

void input_gradient_rows(const Rows& size, const ChannelLine& line, const GradientLine& by,
                         const void* x, const RowGradient& gradient, void* dx) {
  with_type(size.type, [&](auto element) {
    using E = decltype(element);
    gradient.relu ? input_gradient_all<E, Mask::kFromX>(size, line, by, x, gradient.dy, dx)
                  : input_gradient_all<E, Mask::kNone>(size, line, by, x, gradient.dy, dx);
  });
}

}  // namespace largo::nn
