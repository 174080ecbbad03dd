// XXH64: a fast hash of bytes, to find what was damaged by accident.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace largo {

// The 64-bit hash of the xxHash specification, seed 0, of bytes that come in pieces. Against
// accidents only: whoever wants two files of one hash can make them.
class Xxh64 {
 public:
  void update(std::span<const std::byte> bytes);
  uint64_t digest() const;  // of all bytes so far

 private:
  static constexpr size_t kStripe = 32;

  void eat(const std::byte* stripe);

  std::array<uint64_t, 4> lanes_ = {0x60EA27EEADC0B5D6, 0xC2B2AE3D27D4EB4F, 0, 0x61C8864E7A143579};
  std::array<std::byte, kStripe> rest_ = {};
  uint64_t total_ = 0;
};

uint64_t xxh64(std::span<const std::byte> bytes);

// 16 hexadecimal digits.
std::string hex16(uint64_t number);

}  // namespace largo
