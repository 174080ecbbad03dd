#include "trainer/data/sampler.h"

#include <numeric>
#include <utility>

#include "comm/base/error.h"
#include "trainer/base/keyed_random.h"

namespace largo::data {

Sampler::Sampler(uint64_t seed, int64_t samples) : seed_(seed), samples_(samples) {
  LARGO_CHECK(samples >= 1, "a sampler of ", samples, " samples");
}

SampleKey Sampler::key(int64_t position) {
  LARGO_CHECK(position >= 0, "position ", position);
  const int64_t epoch = position / samples_;
  return {epoch, permutation(epoch)[static_cast<size_t>(position % samples_)]};
}

std::vector<SampleKey> Sampler::keys(int64_t first, int64_t count) {
  std::vector<SampleKey> keys;
  keys.reserve(static_cast<size_t>(count));
  for (int64_t position = first; position < first + count; ++position) {
    keys.push_back(key(position));
  }
  return keys;
}

const std::vector<int64_t>& Sampler::permutation(int64_t epoch) {
  if (recent_[0].epoch == epoch) return recent_[0].indices;
  std::swap(recent_[0], recent_[1]);
  Permutation& latest = recent_[0];
  if (latest.epoch == epoch) return latest.indices;

  latest.epoch = epoch;
  latest.indices.resize(static_cast<size_t>(samples_));
  std::iota(latest.indices.begin(), latest.indices.end(), int64_t{0});
  KeyedRandom random(seed_, Purpose::kShuffle, static_cast<uint32_t>(epoch), 0);
  for (size_t last = latest.indices.size() - 1; last > 0; --last) {
    std::swap(latest.indices[last], latest.indices[random.below(last + 1)]);
  }
  return latest.indices;
}

}  // namespace largo::data
