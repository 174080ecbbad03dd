#include "trainer/optim/one_pass.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "comm/base/cpu_isa.h"
#include "comm/base/error.h"

namespace largo::optim {

namespace {

#define LARGO_INLINE inline __attribute__((always_inline))

constexpr int64_t kLeast = 1 << 15;  // elements that are worth a thread

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

template <class Element>
void each(const Element& element, int64_t count) {
  at::parallel_for(0, count, kLeast, [&](int64_t begin, int64_t end) {
    switch (best_cpu_isa()) {
      case CpuIsa::kGeneric:
        return each_generic(element, begin, end);
      case CpuIsa::kAvx2:
        return each_avx2(element, begin, end);
      case CpuIsa::kAvx512:
        return each_avx512(element, begin, end);
    }
  });
}

template <class T>
struct Plain {
  T* weight;
  const T* gradient;
  T trust, decay, lr;

  LARGO_INLINE T update(int64_t i) const { return trust * (gradient[i] + decay * weight[i]); }
  LARGO_INLINE void operator()(int64_t i) const { weight[i] -= lr * update(i); }
};

template <class T>
struct Momentum {
  Plain<T> plain;
  T* buffer;
  T m, of_update, of_buffer;

  LARGO_INLINE void operator()(int64_t i) const {
    buffer[i] = m * buffer[i] + of_update * plain.update(i);
    plain.weight[i] -= of_buffer * buffer[i];
  }
};

template <class T>
struct Nesterov {
  Plain<T> plain;
  T* buffer;
  T m, of_update, of_buffer;

  LARGO_INLINE void operator()(int64_t i) const {
    const T update = plain.update(i);
    const T average = m * buffer[i] + of_update * update;
    buffer[i] = average;
    plain.weight[i] = plain.weight[i] - plain.lr * update - of_buffer * m * average;
  }
};

template <class T>
void momentum_of(const MomentumOptions& options, const MomentumPass& pass, const at::Tensor& weight,
                 const at::Tensor& gradient, const at::Tensor& buffer) {
  const Plain<T> plain = {weight.mutable_data_ptr<T>(), gradient.const_data_ptr<T>(),
                          static_cast<T>(pass.trust), static_cast<T>(pass.decay),
                          static_cast<T>(pass.lr)};
  if (!buffer.defined()) return each(plain, weight.numel());
  const bool outside = options.form == MomentumForm::kOutside;
  const T m = static_cast<T>(pass.m);
  const T of_update = outside ? 1 : plain.lr;
  const T of_buffer = outside ? plain.lr : 1;
  T* const averages = buffer.mutable_data_ptr<T>();
  if (options.nesterov) {
    return each(Nesterov<T>{plain, averages, m, of_update, of_buffer}, weight.numel());
  }
  each(Momentum<T>{plain, averages, m, of_update, of_buffer}, weight.numel());
}

template <class T>
struct Lamb {
  const T* weight;
  const T* gradient;
  T* average;
  T* average_square;
  T* update;
  T divisor, b1, rest1, b2, rest2, correction1, root2, epsilon, decay;

  LARGO_INLINE void operator()(int64_t i) const {
    const T g = gradient[i] / divisor;
    average[i] = b1 * average[i] + rest1 * g;
    average_square[i] = b2 * average_square[i] + rest2 * g * g;
    update[i] = average[i] / correction1 / (std::sqrt(average_square[i]) / root2 + epsilon) +
                decay * weight[i];
  }
};

template <class T>
void lamb_of(const LambPass& pass, const at::Tensor& weight, const at::Tensor& gradient,
             const at::Tensor& average, const at::Tensor& average_square,
             const at::Tensor& update) {
  each(Lamb<T>{.weight = weight.const_data_ptr<T>(),
               .gradient = gradient.const_data_ptr<T>(),
               .average = average.mutable_data_ptr<T>(),
               .average_square = average_square.mutable_data_ptr<T>(),
               .update = update.mutable_data_ptr<T>(),
               .divisor = static_cast<T>(pass.divisor),
               .b1 = static_cast<T>(pass.b1),
               .rest1 = static_cast<T>(1 - pass.b1),
               .b2 = static_cast<T>(pass.b2),
               .rest2 = static_cast<T>(1 - pass.b2),
               .correction1 = static_cast<T>(pass.correction1),
               .root2 = static_cast<T>(std::sqrt(pass.correction2)),
               .epsilon = static_cast<T>(pass.epsilon),
               .decay = static_cast<T>(pass.decay)},
       weight.numel());
}

}  // namespace

bool updates_in_one_pass(const at::Tensor& tensor) {
  return tensor.is_cpu() &&
         (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kDouble);
}

void momentum_in_one_pass(const MomentumOptions& options, const MomentumPass& pass,
                          const at::Tensor& weight, const at::Tensor& gradient,
                          const at::Tensor& buffer) {
  LARGO_CHECK(updates_in_one_pass(weight), "weights of ", weight.dtype());
  const bool is_single = weight.scalar_type() == at::kFloat;
  (is_single ? momentum_of<float> : momentum_of<double>)(options, pass, weight, gradient, buffer);
}

void lamb_in_one_pass(const LambPass& pass, const at::Tensor& weight, const at::Tensor& gradient,
                      const at::Tensor& average, const at::Tensor& average_square,
                      const at::Tensor& update) {
  LARGO_CHECK(updates_in_one_pass(weight), "weights of ", weight.dtype());
  const bool is_single = weight.scalar_type() == at::kFloat;
  (is_single ? lamb_of<float> : lamb_of<double>)(pass, weight, gradient, average, average_square,
                                                 update);
}

}  // namespace largo::optim
