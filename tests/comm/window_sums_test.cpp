#include "comm/window_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace largo::comm {
namespace {

std::vector<CpuIsa> isas_here() {
  std::vector<CpuIsa> isas;
  for (const CpuIsa isa : {CpuIsa::kGeneric, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
    if (supports(isa)) isas.push_back(isa);
  }
  return isas;
}

float widen(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// By the definition: the nearer of the two neighbours, the even one of equally near ones.
uint16_t narrow(float value) {
  if (std::isnan(value)) return 0x7fc0;
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t below = bits >> 16, rest = bits & 0xffff;
  const bool up = rest > 0x8000 || (rest == 0x8000 && below % 2 == 1);
  return static_cast<uint16_t>(below + (up ? 1 : 0));
}

template <class T>
T tree_reference(std::vector<T> leaves) {
  const auto plus = [](T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    } else {
      return a + b;
    }
  };
  while (leaves.size() % 2 == 0) {
    for (size_t k = 0; 2 * k < leaves.size(); ++k) {
      leaves[k] = plus(leaves[2 * k], leaves[2 * k + 1]);
    }
    leaves.resize(leaves.size() / 2);
  }
  return std::accumulate(leaves.begin() + 1, leaves.end(), leaves[0], plus);
}

template <class T>
T reference(WindowOp op, const std::vector<std::vector<T>>& inputs, size_t i) {
  if (op == WindowOp::kTreeSum) {
    std::vector<T> leaves;
    leaves.reserve(inputs.size());
    for (const auto& input : inputs) leaves.push_back(input[i]);
    return tree_reference(std::move(leaves));
  }
  T result = inputs[0][i];
  for (size_t k = 1; k < inputs.size(); ++k) {
    const T next = inputs[k][i];
    if (op == WindowOp::kMax) {
      result = result != result || result > next ? result : next;
    } else if constexpr (std::is_integral_v<T>) {
      result = static_cast<T>(static_cast<uint64_t>(result) + static_cast<uint64_t>(next));
    } else {
      result += next;
    }
  }
  return result;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Sums in place of the first input and into another buffer; nothing beyond the end may change.
template <class T>
void check(WindowType type, WindowOp op, const std::vector<std::vector<T>>& inputs,
           const std::vector<T>& expected) {
  for (const CpuIsa isa : isas_here()) {
    auto copies = inputs;
    const T mark = T(77);
    std::vector<T> other(expected.size() + 1, mark);
    copies[0].push_back(mark);
    std::vector<const std::byte*> from;
    from.reserve(copies.size());
    for (const auto& copy : copies) from.push_back(reinterpret_cast<const std::byte*>(copy.data()));
    combine(type, op, from,
            {reinterpret_cast<std::byte*>(copies[0].data()),
             reinterpret_cast<std::byte*>(other.data())},
            static_cast<int64_t>(expected.size()), isa);
    EXPECT_EQ(copies[0].back(), mark);
    EXPECT_EQ(other.back(), mark);
    copies[0].pop_back();
    other.pop_back();
    const std::string what = std::string(to_string(type)) + " by " + to_string(isa) + ", " +
                             std::to_string(inputs.size()) + " x " +
                             std::to_string(expected.size());
    EXPECT_TRUE(same_bits(copies[0], expected)) << what;
    EXPECT_TRUE(same_bits(other, expected)) << what;
  }
}

template <class T, class Make>
void check_all(WindowType type, const Make& make) {
  for (const WindowOp op : {WindowOp::kSum, WindowOp::kMax, WindowOp::kTreeSum}) {
    for (const size_t ranks : {1u, 2u, 3u, 4u, 8u, 12u, 40u}) {
      for (const size_t n : {0u, 1u, 7u, 64u, 511u, 512u, 1025u, 5000u}) {
        std::vector<std::vector<T>> inputs(ranks, std::vector<T>(n));
        for (auto& input : inputs) {
          for (T& value : input) value = make();
        }
        std::vector<T> expected(n);
        for (size_t i = 0; i < n; ++i) expected[i] = reference(op, inputs, i);
        check(type, op, inputs, expected);
      }
    }
  }
}

TEST(WindowSums, AddInTheOrderOfTheRanks) {
  std::mt19937_64 random(1);
  // Of wide range, so that another order gives other bits.
  const auto number = [&] {
    return std::ldexp(std::uniform_real_distribution(-1.0, 1.0)(random),
                      static_cast<int>(random() % 40) - 20);
  };
  check_all<float>(WindowType::kFloat, [&] { return static_cast<float>(number()); });
  check_all<double>(WindowType::kDouble, number);
  check_all<int64_t>(WindowType::kInt64, [&] { return static_cast<int64_t>(random()); });
}

TEST(WindowSums, AddBfloat16InSinglePrecisionAndRoundOnce) {
  std::mt19937_64 random(2);
  for (const size_t ranks : {1u, 2u, 3u, 8u}) {
    const size_t n = 3001;
    std::vector<std::vector<uint16_t>> inputs(ranks, std::vector<uint16_t>(n));
    for (auto& input : inputs) {
      for (uint16_t& value : input) {
        value = static_cast<uint16_t>(random());
        if ((value & 0x7f80) == 0x7f80) value &= 0xbfff;  // finite
      }
    }
    std::vector<uint16_t> sums(n), largest(n);
    for (size_t i = 0; i < n; ++i) {
      float sum = widen(inputs[0][i]), most = sum;
      for (size_t k = 1; k < ranks; ++k) {
        sum += widen(inputs[k][i]);
        most = std::max(most, widen(inputs[k][i]));
      }
      sums[i] = narrow(sum);
      largest[i] = narrow(most);
    }
    check(WindowType::kBfloat16, WindowOp::kSum, inputs, sums);
    if (ranks != 2) continue;  // and zeros of both signs are equally large
    check(WindowType::kBfloat16, WindowOp::kMax, inputs, largest);
  }
}

TEST(WindowSums, KeepNanAndInfinity) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> a = {nan, 1, inf, inf, -inf}, b = {1, nan, 1, -inf, 2};
  for (const CpuIsa isa : isas_here()) {
    for (const WindowOp op : {WindowOp::kSum, WindowOp::kMax}) {
      std::vector<float> result(a.size());
      combine(WindowType::kFloat, op,
              {reinterpret_cast<const std::byte*>(a.data()),
               reinterpret_cast<const std::byte*>(b.data())},
              {reinterpret_cast<std::byte*>(result.data())}, 5, isa);
      EXPECT_TRUE(std::isnan(result[0]) && std::isnan(result[1])) << to_string(isa);
      EXPECT_EQ(result[2], inf);
      EXPECT_EQ(std::isnan(result[3]), op == WindowOp::kSum);
      EXPECT_EQ(result[4], op == WindowOp::kSum ? -inf : 2);
    }
    const std::vector<uint16_t> x = {0x7fc0, 0x7f80, 0x7f7f}, y = {0x3f80, 0xff80, 0x7f7f};
    std::vector<uint16_t> sum(3);
    combine(WindowType::kBfloat16, WindowOp::kSum,
            {reinterpret_cast<const std::byte*>(x.data()),
             reinterpret_cast<const std::byte*>(y.data())},
            {reinterpret_cast<std::byte*>(sum.data())}, 3, isa);
    EXPECT_THAT(sum, testing::ElementsAre(0x7fc0, 0x7fc0, 0x7f80)) << to_string(isa);
  }
}

TEST(CpuIsa, TheBestIsSupportedAndWiderOnesAreNot) {
  EXPECT_TRUE(supports(CpuIsa::kGeneric));
  EXPECT_TRUE(supports(best_cpu_isa()));
  EXPECT_EQ(isas_here().back(), best_cpu_isa());
}

}  // namespace
}  // namespace largo::comm
