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

}  // namespace largo::nn
