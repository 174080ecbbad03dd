#include "trainer/base/keyed_random.h"

#include <cmath>
#include <numbers>

namespace largo {

namespace {

// splitmix64's finalizer: seeds that differ in one bit give unrelated keys.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t low = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t high = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(high >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(high),
               static_cast<uint32_t>(low >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(low)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

KeyedRandom::KeyedRandom(uint64_t seed, Purpose purpose, uint32_t a, uint64_t b) {
  const uint64_t key = mix(mix(seed) + static_cast<uint64_t>(purpose));
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  counter_ = {0, a, static_cast<uint32_t>(b), static_cast<uint32_t>(b >> 32)};
}

uint32_t KeyedRandom::next_u32() {
  if (used_ == 4) {
    block_ = philox4x32(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return block_[used_++];
}

uint64_t KeyedRandom::next_u64() {
  const uint64_t high = next_u32();
  return high << 32 | next_u32();
}

double KeyedRandom::uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }

uint64_t KeyedRandom::below(uint64_t bound) {
  // Values below 2^64 mod bound would favour small results; they are drawn again.
  const uint64_t favoured = (0 - bound) % bound;
  uint64_t value = next_u64();
  while (value < favoured) value = next_u64();
  return value % bound;
}

double KeyedRandom::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));  // 1 − u is never 0
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

}  // namespace largo
