// Mixup (Zhang et al. 2018): training on weighted means of two images and of their labels.
#pragma once

#include <cstdint>

namespace largo::data {

// The share of an image that is its own, for all images of step `step`: max(s, 1 - s) of an s from
// Beta(alpha, alpha), so 0.5 … 1. Follows from (seed, step) alone. alpha >= 0; 0 gives 1.
double draw_mix(double alpha, uint64_t seed, int64_t step);

// Image i becomes mix * image i + (1 - mix) * image i + 1, for i in 0 … count - 1. `images` holds
// count + 1 of them, each of `values` numbers. T is float or double, and so is the arithmetic.
template <class T>
void mix_with_next(T* images, int64_t count, int64_t values, double mix);

}  // namespace largo::data
