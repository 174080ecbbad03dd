// The order in which a run sees its training samples.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "trainer/base/sample_key.h"

namespace largo::data {

// The endless stream of samples: position p is place p % samples of the permutation of epoch
// p / samples. A permutation follows from (seed, epoch) alone (Fisher-Yates on keyed random
// numbers), so every rank, at any world size and after any resume, sees the same stream.
// Not thread-safe: the two permutations used last are kept.
class Sampler {
 public:
  Sampler(uint64_t seed, int64_t samples);  // samples >= 1

  SampleKey key(int64_t position);  // position >= 0
  std::vector<SampleKey> keys(int64_t first, int64_t count);

 private:
  struct Permutation {
    int64_t epoch = -1;
    std::vector<int64_t> indices;
  };

  const std::vector<int64_t>& permutation(int64_t epoch);

  uint64_t seed_;
  int64_t samples_;
  std::array<Permutation, 2> recent_;  // the latest first
};

}  // namespace largo::data
