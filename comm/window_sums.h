// Sums and maxima over the buffers of several ranks, element by element.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/base/cpu_isa.h"

namespace largo::comm {

enum class WindowType : uint8_t { kFloat, kDouble, kInt64, kBfloat16 };
enum class WindowOp : uint8_t { kSum, kMax, kTreeSum };

int64_t element_bytes(WindowType type);
const char* to_string(WindowType type);
const char* to_string(WindowOp op);

// outputs[o][i] = inputs[0][i] + inputs[1][i] + ... in this order, or the maximum, which is NaN
// where one of them is: the same bits whatever the instructions and however a buffer is cut up. A
// tree sum is that of comm/base/tree_order.h with the inputs as its leaves; of at most 65536.
// bfloat16 is summed in float32 and rounded once, to nearest even. Integers wrap around.
// At least one input; an output may be an input, and other memory must not overlap. Pointers are
// aligned for the element.
void combine(WindowType type, WindowOp op, const std::vector<const std::byte*>& inputs,
             const std::vector<std::byte*>& outputs, int64_t elements, CpuIsa isa = best_cpu_isa());

}  // namespace largo::comm
