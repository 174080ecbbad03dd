// The order in which a run sees its training samples.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "trainer/base/sample_key.h"
#include "trainer/data/dataset.h"
#include "trainer/data/options.h"

namespace largo::data {

// The endless stream of samples: position p is place p % samples of the permutation of epoch
// p / samples. A permutation follows from (seed, epoch) alone, so every rank, at any world size and
// after any resume, sees the same stream.
// Not thread-safe: the two permutations used last are kept.
class Sampler {
 public:
  // Full: all permutations are equally likely (Fisher-Yates on keyed random numbers).
  Sampler(uint64_t seed, int64_t samples);  // samples >= 1

  // Blocks: shard 0 holds samples 0 … shard_sizes[0] − 1, and so on. For each epoch the shards are
  // put in random order; so many of them as blocks.shards says are read side by side, a sample of
  // each in turn, in order, until all of them are used up, and then the next ones. Of that stream
  // each blocks.window samples are shuffled among each other.
  Sampler(uint64_t seed, std::vector<int64_t> shard_sizes, const ShuffleOptions& blocks);

  SampleKey key(int64_t position);  // position >= 0
  std::vector<SampleKey> keys(int64_t first, int64_t count);

 private:
  struct Permutation {
    int64_t epoch = -1;
    std::vector<int64_t> indices;
  };

  const std::vector<int64_t>& permutation(int64_t epoch);
  void shuffle_blocks(int64_t epoch, std::vector<int64_t>& indices) const;

  uint64_t seed_;
  int64_t samples_;
  std::vector<int64_t> shard_sizes_;  // empty: full
  ShuffleOptions blocks_;
  std::array<Permutation, 2> recent_;  // the latest first
};

// What data.shuffle asks for; the shards are those that `train` says.
Sampler make_sampler(const ShuffleOptions& options, uint64_t seed, const Dataset& train);

}  // namespace largo::data
