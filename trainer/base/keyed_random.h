// Random numbers that depend on what they are for, and on nothing else.
#pragma once

#include <array>
#include <cstdint>

namespace largo {

enum class Purpose : uint32_t {
  kShuffle = 1,
  kAugment,
  kInit,
  kDropout,
  kMixup,
  kSynthetic,
  kCrop,
  kCutout,
  kHoldOut,
};

// Philox4x32-10 (Salmon et al. 2011): ten rounds over one 128-bit counter.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// An endless stream of random numbers, the same for the same (seed, purpose, a, b) on every rank,
// thread, platform and world size. Two streams that differ in any of the four are independent.
// Typical: a = epoch, b = sample index. A stream holds 2^34 numbers before it would repeat.
class KeyedRandom {
 public:
  KeyedRandom(uint64_t seed, Purpose purpose, uint32_t a, uint64_t b);

  uint32_t next_u32();
  uint64_t next_u64();
  double uniform();                // [0, 1), 53 random bits
  uint64_t below(uint64_t bound);  // 0 … bound − 1, every value equally likely; bound >= 1
  double normal();                 // mean 0, standard deviation 1 (Box-Muller, one of the pair)

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace largo
