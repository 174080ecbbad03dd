#include "trainer/base/xxh64.h"

#include <gtest/gtest.h>

#include <vector>

namespace largo {
namespace {

std::vector<std::byte> pattern(size_t length) {
  std::vector<std::byte> bytes(length);
  for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 3);
  return bytes;
}

// Numbers of the reference implementation (xxHash 0.8).
TEST(Xxh64, IsTheSpecifiedHash) {
  const std::vector<std::pair<size_t, const char*>> expected = {
      {0, "ef46db3751d8e999"},   {1, "1f25c8d0bc1f4bb6"},   {3, "31d2363f52e564c9"},
      {4, "9bb64b7d66ee9fda"},   {7, "9a7b149959ce60d8"},   {8, "dab99d95c6f90092"},
      {13, "f78b031308f5bfc8"},  {31, "a2aa5f33cc4a6119"},  {32, "23c3c17ef790fd97"},
      {33, "50a7cfc7ba588784"},  {63, "5e3e54b431c7493c"},  {64, "0eb64b3ef6eeb01f"},
      {100, "a61f8d4c170fe531"}, {1000, "5f235fa033f1a3fb"}};
  for (const auto& [length, hash] : expected) {
    EXPECT_EQ(hex16(xxh64(pattern(length))), hash) << length;
  }
}

TEST(Xxh64, PiecesMakeNoDifference) {
  const std::vector<std::byte> bytes = pattern(200);
  for (size_t piece = 1; piece <= 70; ++piece) {
    Xxh64 hash;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      hash.update(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
      hash.update({});
    }
    EXPECT_EQ(hash.digest(), xxh64(bytes)) << piece;
  }
}

}  // namespace
}  // namespace largo
