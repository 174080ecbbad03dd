#include "trainer/optim/one_pass.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "comm/base/error.h"
#include "comm/base/squares.h"
#include "trainer/optim/one_pass_loop.h"

namespace largo::optim {

namespace {

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
  T m, of_update, ahead;

  LARGO_INLINE void operator()(int64_t i) const {
    const T update = plain.update(i);
    const T average = m * buffer[i] + of_update * update;
    buffer[i] = average;
    plain.weight[i] = plain.weight[i] - plain.lr * update - ahead * average;
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
  const T m = static_cast<T>(pass.m.kept);
  const T of_update = outside ? 1 : plain.lr;
  const T of_buffer = outside ? plain.lr : 1;
  T* const averages = buffer.mutable_data_ptr<T>();
  if (options.nesterov) {
    const T ahead = of_buffer * static_cast<T>(pass.m.ahead);
    return each(Nesterov<T>{plain, averages, m, of_update, ahead}, weight.numel());
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

// Not so long that the tensors' pieces would leave the cache before the norms are taken.
constexpr int64_t kPiece = 1 << 13;

// Piece by piece, so that no bit depends on the number of threads.
template <class T>
LambNorms lamb_pieces(const Lamb<T>& lamb, int64_t count) {
  const int64_t pieces = (count + kPiece - 1) / kPiece;
  std::vector<LambNorms> squares(static_cast<size_t>(pieces));
  each_piece(pieces, kPiece, [&](int64_t p) {
    const int64_t begin = p * kPiece, end = std::min(count, begin + kPiece);
    each(lamb, begin, end);
    squares[static_cast<size_t>(p)] = {.weight = sum_of_squares(lamb.weight + begin, end - begin),
                                       .update = sum_of_squares(lamb.update + begin, end - begin)};
  });
  LambNorms sums;
  for (const LambNorms& piece : squares) {
    sums.weight += piece.weight;
    sums.update += piece.update;
  }
  return {.weight = std::sqrt(sums.weight), .update = std::sqrt(sums.update)};
}

template <class T>
LambNorms lamb_of(const LambPass& pass, const at::Tensor& weight, const at::Tensor& gradient,
                  const at::Tensor& average, const at::Tensor& average_square,
                  const at::Tensor& update) {
  const Lamb<T> lamb = {.weight = weight.const_data_ptr<T>(),
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
                        .decay = static_cast<T>(pass.decay)};
  return lamb_pieces(lamb, weight.numel());
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

LambNorms lamb_in_one_pass(const LambPass& pass, const at::Tensor& weight,
                           const at::Tensor& gradient, const at::Tensor& average,
                           const at::Tensor& average_square, const at::Tensor& update) {
  LARGO_CHECK(updates_in_one_pass(weight), "weights of ", weight.dtype());
  const bool is_single = weight.scalar_type() == at::kFloat;
  return (is_single ? lamb_of<float> : lamb_of<double>)(pass, weight, gradient, average,
                                                        average_square, update);
}

}  // namespace largo::optim
