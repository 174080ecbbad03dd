#include <cmath>
#include <type_traits>

#include "comm/base/error.h"
#include "trainer/optim/adaptive_rules.h"
#include "trainer/optim/one_pass.h"
#include "trainer/optim/one_pass_loop.h"

namespace largo::optim {

namespace {

// g' and what it is made of.
template <class T>
struct Decayed {
  T* weight;
  const T* gradient;
  T decay;

  LARGO_INLINE T operator()(int64_t i) const { return gradient[i] + decay * weight[i]; }
};

template <class T>
struct Adagrad {
  Decayed<T> decayed;
  T* squares;
  T lr, epsilon;

  LARGO_INLINE void operator()(int64_t i) const {
    const T g = decayed(i);
    squares[i] += g * g;
    decayed.weight[i] -= lr * g / (std::sqrt(squares[i]) + epsilon);
  }
};

template <class T>
struct Adadelta {
  Decayed<T> decayed;
  T* square;
  T* square_step;
  T lr, rho, rest, epsilon;

  LARGO_INLINE void operator()(int64_t i) const {
    const T g = decayed(i);
    square[i] = rho * square[i] + rest * g * g;
    const T step = std::sqrt(square_step[i] + epsilon) / std::sqrt(square[i] + epsilon) * g;
    square_step[i] = rho * square_step[i] + rest * step * step;
    decayed.weight[i] -= lr * step;
  }
};

template <class T, bool kCentered, bool kHasMomentum>
struct Rmsprop {
  Decayed<T> decayed;
  T* square;
  T* average;
  T* momentum;
  T lr, m, alpha, rest, epsilon;

  LARGO_INLINE void operator()(int64_t i) const {
    const T g = decayed(i);
    square[i] = alpha * square[i] + rest * g * g;
    T variance = square[i];
    if constexpr (kCentered) {
      average[i] = alpha * average[i] + rest * g;
      variance -= average[i] * average[i];
      variance = variance < 0 ? 0 : variance;  // rounding may leave it there
    }
    T step = g / (std::sqrt(variance) + epsilon);
    if constexpr (kHasMomentum) {
      step += m * momentum[i];
      momentum[i] = step;
    }
    decayed.weight[i] -= lr * step;
  }
};

template <class T>
struct Lion {
  T* weight;
  const T* gradient;
  T* average;
  T lr, kept, b1, rest1, b2, rest2;

  LARGO_INLINE void operator()(int64_t i) const {
    const T g = gradient[i];
    const T direction = b1 * average[i] + rest1 * g;
    const T up = direction > 0 ? lr : 0, down = direction < 0 ? lr : 0;
    weight[i] = kept * weight[i] - (up - down);
    average[i] = b2 * average[i] + rest2 * g;
  }
};

// Calls use(type, i) with a number of the tensors' type for each parameter i.
template <class Use>
void for_each_tensor(const ParameterGroup& group, const Use& use) {
  for (size_t i = 0; i < group.weights.size(); ++i) {
    const at::Tensor& weight = group.weights[i];
    LARGO_CHECK(updates_in_one_pass(weight), "weights of ", weight.dtype());
    weight.scalar_type() == at::kFloat ? use(float{}, i) : use(double{}, i);
  }
}

template <class T>
T* slot(const ParameterGroup& group, size_t number, size_t i) {
  return group.slots[number][i].mutable_data_ptr<T>();
}

template <class T, class Rule>
Decayed<T> decayed_of(const Rule& rule, const ParameterGroup& group, at::TensorList gradients,
                      size_t i) {
  return {group.weights[i].mutable_data_ptr<T>(), gradients[i].const_data_ptr<T>(),
          static_cast<T>(rule.decay)};
}

template <class T, bool kCentered, bool kHasMomentum>
void update_tensor(const RmspropRule& rule, const ParameterGroup& group, at::TensorList gradients,
                   size_t i) {
  each(
      Rmsprop<T, kCentered, kHasMomentum>{
          .decayed = decayed_of<T>(rule, group, gradients, i),
          .square = slot<T>(group, 0, i),
          .average = kCentered ? slot<T>(group, 1, i) : nullptr,
          .momentum = kHasMomentum ? slot<T>(group, kCentered ? 2 : 1, i) : nullptr,
          .lr = static_cast<T>(rule.lr),
          .m = static_cast<T>(rule.m),
          .alpha = static_cast<T>(rule.alpha),
          .rest = static_cast<T>(1 - rule.alpha),
          .epsilon = static_cast<T>(rule.epsilon)},
      group.weights[i].numel());
}

}  // namespace

void update_in_one_pass(const AdagradRule& rule, const ParameterGroup& group,
                        at::TensorList gradients) {
  for_each_tensor(group, [&](auto type, size_t i) {
    using T = decltype(type);
    each(Adagrad<T>{.decayed = decayed_of<T>(rule, group, gradients, i),
                    .squares = slot<T>(group, 0, i),
                    .lr = static_cast<T>(rule.lr),
                    .epsilon = static_cast<T>(rule.epsilon)},
         group.weights[i].numel());
  });
}

void update_in_one_pass(const AdadeltaRule& rule, const ParameterGroup& group,
                        at::TensorList gradients) {
  for_each_tensor(group, [&](auto type, size_t i) {
    using T = decltype(type);
    each(Adadelta<T>{.decayed = decayed_of<T>(rule, group, gradients, i),
                     .square = slot<T>(group, 0, i),
                     .square_step = slot<T>(group, 1, i),
                     .lr = static_cast<T>(rule.lr),
                     .rho = static_cast<T>(rule.rho),
                     .rest = static_cast<T>(1 - rule.rho),
                     .epsilon = static_cast<T>(rule.epsilon)},
         group.weights[i].numel());
  });
}

void update_in_one_pass(const RmspropRule& rule, const ParameterGroup& group,
                        at::TensorList gradients) {
  for_each_tensor(group, [&](auto type, size_t i) {
    using T = decltype(type);
    if (rule.centered) {
      rule.has_momentum ? update_tensor<T, true, true>(rule, group, gradients, i)
                        : update_tensor<T, true, false>(rule, group, gradients, i);
    } else {
      rule.has_momentum ? update_tensor<T, false, true>(rule, group, gradients, i)
                        : update_tensor<T, false, false>(rule, group, gradients, i);
    }
  });
}

void update_in_one_pass(const LionRule& rule, const ParameterGroup& group,
                        at::TensorList gradients) {
  for_each_tensor(group, [&](auto type, size_t i) {
    using T = decltype(type);
    each(Lion<T>{.weight = group.weights[i].mutable_data_ptr<T>(),
                 .gradient = gradients[i].const_data_ptr<T>(),
                 .average = slot<T>(group, 0, i),
                 .lr = static_cast<T>(rule.lr),
                 .kept = static_cast<T>(1 - rule.lr * rule.decay),
                 .b1 = static_cast<T>(rule.b1),
                 .rest1 = static_cast<T>(1 - rule.b1),
                 .b2 = static_cast<T>(rule.b2),
                 .rest2 = static_cast<T>(1 - rule.b2)},
         group.weights[i].numel());
  });
}

}  // namespace largo::optim
