#include "trainer/nn/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace largo::nn {

void parallel_for(int64_t items, const std::function<void(int64_t)>& use) {
  const int threads = static_cast<int>(
      at::in_parallel_region() ? 1 : std::min<int64_t>(items, at::get_num_threads()));
  if (threads <= 1) {
    for (int64_t i = 0; i < items; ++i) use(i);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < items; ++i) use(i);
}

void in_pieces(int64_t items, const std::function<void(int64_t begin, int64_t end)>& use) {
  const int64_t pieces = std::min<int64_t>(items, at::get_num_threads());
  parallel_for(pieces, [&](int64_t p) { use(items * p / pieces, items * (p + 1) / pieces); });
}

}  // namespace largo::nn
