#include "comm/window_sums.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "comm/base/error.h"
#include "comm/base/tree_order.h"

namespace largo::comm {

namespace {

#define LARGO_INLINE inline __attribute__((always_inline))

// How an element lies in memory, and as what it is computed with.
template <class T>
struct Plain {
  using Stored = T;
  using Value = T;
  LARGO_INLINE static Value load(Stored stored) { return stored; }
  LARGO_INLINE static Stored store(Value value) { return value; }
};

struct Bfloat16 {
  using Stored = uint16_t;
  using Value = float;
  LARGO_INLINE static Value load(Stored stored) {
    return __builtin_bit_cast(float, static_cast<uint32_t>(stored) << 16);
  }
  LARGO_INLINE static Stored store(Value value) {
    const auto bits = __builtin_bit_cast(uint32_t, value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return static_cast<Stored>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
  }
};

struct Sum {
  template <class T>
  LARGO_INLINE static T of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      using Bits = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<Bits>(a) + static_cast<Bits>(b));
    } else {
      return a + b;
    }
  }
};

struct Max {
  template <class T>
  LARGO_INLINE static T of(T a, T b) {
    return (a > b) | (a != a) ? a : b;
  }
};

struct Job {
  const std::vector<const std::byte*>& inputs;
  const std::vector<std::byte*>& outputs;
  int64_t elements;
};

// Tile by tile, so that what is not a load or a store of a rank's buffer stays in the first cache.
// Tiles are large because two cores that alternate between loads and stores of lines which the
// other one last wrote are slow: at 1 MiB on two ranks 4 KiB take 1.15 times as long, single
// elements 3.
template <class Element, class Op>
LARGO_INLINE void combine_tiles(const Job& job) {
  using Stored = typename Element::Stored;
  using Value = typename Element::Value;
  constexpr int64_t kTile = 16384 / sizeof(Value);
  alignas(64) Value values[kTile];
  alignas(64) Stored results[kTile];
  for (int64_t start = 0; start < job.elements; start += kTile) {
    const int64_t n = std::min(kTile, job.elements - start);
    const auto input = [&](size_t k) {
      return reinterpret_cast<const Stored*>(job.inputs[k]) + start;
    };
    const size_t last = job.inputs.size() - 1;
    const Stored* first = input(0);
    if (last == 0) {
      for (int64_t i = 0; i < n; ++i) results[i] = first[i];
    } else if (last == 1) {
      const Stored* second = input(1);
      for (int64_t i = 0; i < n; ++i) {
        results[i] = Element::store(Op::of(Element::load(first[i]), Element::load(second[i])));
      }
    } else {
      const Stored* second = input(1);
      for (int64_t i = 0; i < n; ++i) {
        values[i] = Op::of(Element::load(first[i]), Element::load(second[i]));
      }
      for (size_t k = 2; k < last; ++k) {
        const Stored* next = input(k);
        for (int64_t i = 0; i < n; ++i) values[i] = Op::of(values[i], Element::load(next[i]));
      }
      const Stored* next = input(last);
      for (int64_t i = 0; i < n; ++i) {
        results[i] = Element::store(Op::of(values[i], Element::load(next[i])));
      }
    }
    for (std::byte* output : job.outputs) {
      std::memcpy(reinterpret_cast<Stored*>(output) + start, results,
                  static_cast<size_t>(n) * sizeof(Stored));
    }
  }
}

constexpr int kMostTreeLevels = 16;

// As if the inputs came one after the other; small tiles, of which one waits at every level.
template <class Element>
LARGO_INLINE void sum_trees(const Job& job) {
  using Stored = typename Element::Stored;
  using Value = typename Element::Value;
  constexpr int64_t kTile = 2048 / sizeof(Value);
  alignas(64) Value waiting[kMostTreeLevels + 1][kTile];
  alignas(64) Value sum[kTile];
  alignas(64) Value total[kTile];
  alignas(64) Stored results[kTile];
  const auto leaves = static_cast<int64_t>(job.inputs.size());
  for (int64_t start = 0; start < job.elements; start += kTile) {
    const int64_t n = std::min(kTile, job.elements - start);
    for (int64_t leaf = 0; leaf < leaves; ++leaf) {
      const Stored* input =
          reinterpret_cast<const Stored*>(job.inputs[static_cast<size_t>(leaf)]) + start;
      for (int64_t i = 0; i < n; ++i) sum[i] = Element::load(input[i]);
      const TreeStep step = tree_step(leaf, leaves);
      for (int level = 0; level < step.merges; ++level) {
        for (int64_t i = 0; i < n; ++i) sum[i] = Sum::of(waiting[level][i], sum[i]);
      }
      if (step.completes_root && !step.is_first_root) {
        for (int64_t i = 0; i < n; ++i) total[i] = Sum::of(total[i], sum[i]);
      } else {
        std::copy_n(sum, n, step.completes_root ? total : waiting[step.merges]);
      }
    }
    for (int64_t i = 0; i < n; ++i) results[i] = Element::store(total[i]);
    for (std::byte* output : job.outputs) {
      std::memcpy(reinterpret_cast<Stored*>(output) + start, results,
                  static_cast<size_t>(n) * sizeof(Stored));
    }
  }
}

template <class Element>
LARGO_INLINE void combine_elements(WindowOp op, const Job& job) {
  switch (op) {
    case WindowOp::kSum:
      return combine_tiles<Element, Sum>(job);
    case WindowOp::kMax:
      return combine_tiles<Element, Max>(job);
    case WindowOp::kTreeSum:
      return sum_trees<Element>(job);
  }
}

LARGO_INLINE void combine_any(WindowType type, WindowOp op, const Job& job) {
  switch (type) {
    case WindowType::kFloat:
      return combine_elements<Plain<float>>(op, job);
    case WindowType::kDouble:
      return combine_elements<Plain<double>>(op, job);
    case WindowType::kInt64:
      return combine_elements<Plain<int64_t>>(op, job);
    case WindowType::kBfloat16:
      return combine_elements<Bfloat16>(op, job);
  }
}

void combine_generic(WindowType type, WindowOp op, const Job& job) { combine_any(type, op, job); }

LARGO_TARGET_AVX2 void combine_avx2(WindowType type, WindowOp op, const Job& job) {
  combine_any(type, op, job);
}

LARGO_TARGET_AVX512 void combine_avx512(WindowType type, WindowOp op, const Job& job) {
  combine_any(type, op, job);
}

}  // namespace

int64_t element_bytes(WindowType type) {
  switch (type) {
    case WindowType::kFloat:
      return 4;
    case WindowType::kDouble:
    case WindowType::kInt64:
      return 8;
    case WindowType::kBfloat16:
      return 2;
  }
  return 0;
}

const char* to_string(WindowType type) {
  switch (type) {
    case WindowType::kFloat:
      return "float32";
    case WindowType::kDouble:
      return "float64";
    case WindowType::kInt64:
      return "int64";
    case WindowType::kBfloat16:
      return "bfloat16";
  }
  return "";
}

const char* to_string(WindowOp op) {
  switch (op) {
    case WindowOp::kSum:
      return "sum";
    case WindowOp::kMax:
      return "maximum";
    case WindowOp::kTreeSum:
      return "tree sum";
  }
  return "";
}

void combine(WindowType type, WindowOp op, const std::vector<const std::byte*>& inputs,
             const std::vector<std::byte*>& outputs, int64_t elements, CpuIsa isa) {
  LARGO_CHECK(!inputs.empty(), "no inputs");
  LARGO_CHECK(op != WindowOp::kTreeSum || inputs.size() <= size_t{1} << kMostTreeLevels,
              inputs.size(), " leaves");
  // Up to three leaves the tree is the plain order, which takes larger tiles.
  if (op == WindowOp::kTreeSum && inputs.size() <= 3) op = WindowOp::kSum;
  const Job job{inputs, outputs, elements};
  switch (isa) {
    case CpuIsa::kAvx512:
      return combine_avx512(type, op, job);
    case CpuIsa::kAvx2:
      return combine_avx2(type, op, job);
    case CpuIsa::kGeneric:
      return combine_generic(type, op, job);
  }
}

}  // namespace largo::comm
