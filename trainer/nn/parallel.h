// Loops over several processor cores.
#pragma once

#include <cstdint>
#include <functional>

namespace largo::nn {

// Calls use(i) for every i from 0 to items - 1, on as many threads as LibTorch's operators use: its
// own ones (OpenMP's), so that they do not add up. `use` must not throw.
// (at::parallel_for is a plain loop in sources that are not compiled for OpenMP.)
void parallel_for(int64_t items, const std::function<void(int64_t)>& use);

// Calls use(begin, end) for pieces of 0 to items, one for each thread: for what is set up per
// piece.
void in_pieces(int64_t items, const std::function<void(int64_t begin, int64_t end)>& use);

}  // namespace largo::nn
