#include "trainer/data/sampler.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "comm/base/error.h"
#include "trainer/base/keyed_random.h"

namespace largo::data {

namespace {

// What the shuffles of an epoch are for; the blocks' windows come after.
enum Shuffle : uint64_t { kSamples = 0, kShards = 1, kFirstWindow = 2 };

void shuffle(std::span<int64_t> values, KeyedRandom random) {
  for (size_t last = values.size(); last-- > 1;) {
    std::swap(values[last], values[random.below(last + 1)]);
  }
}

}  // namespace

Sampler::Sampler(uint64_t seed, int64_t samples) : seed_(seed), samples_(samples) {
  LARGO_CHECK(samples >= 1, "a sampler of ", samples, " samples");
}

Sampler::Sampler(uint64_t seed, std::vector<int64_t> shard_sizes, const ShuffleOptions& blocks)
    : Sampler(seed, std::accumulate(shard_sizes.begin(), shard_sizes.end(), int64_t{0})) {
  LARGO_CHECK(blocks.shards >= 1 && blocks.window >= 1, blocks.shards, " shards, window ",
              blocks.window);
  const auto shards = static_cast<int64_t>(shard_sizes.size());
  shard_sizes_ = std::move(shard_sizes);
  blocks_.shards = std::min(blocks.shards, shards);
  blocks_.window = std::min(blocks.window, samples_);
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
  if (shard_sizes_.empty()) {
    latest.indices.resize(static_cast<size_t>(samples_));
    std::iota(latest.indices.begin(), latest.indices.end(), int64_t{0});
    shuffle(latest.indices,
            KeyedRandom(seed_, Purpose::kShuffle, static_cast<uint32_t>(epoch), kSamples));
  } else {
    shuffle_blocks(epoch, latest.indices);
  }
  return latest.indices;
}

void Sampler::shuffle_blocks(int64_t epoch, std::vector<int64_t>& indices) const {
  const auto random = [&](uint64_t what) {
    return KeyedRandom(seed_, Purpose::kShuffle, static_cast<uint32_t>(epoch), what);
  };
  const auto shards = static_cast<int64_t>(shard_sizes_.size());
  std::vector<int64_t> order(shard_sizes_.size()), starts(shard_sizes_.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::exclusive_scan(shard_sizes_.begin(), shard_sizes_.end(), starts.begin(), int64_t{0});
  shuffle(order, random(kShards));

  indices.clear();
  indices.reserve(static_cast<size_t>(samples_));
  for (int64_t first = 0; first < shards; first += blocks_.shards) {
    std::vector<int64_t> side_by_side(order.begin() + first,
                                      order.begin() + std::min(first + blocks_.shards, shards));
    for (int64_t place = 0; !side_by_side.empty(); ++place) {
      std::erase_if(side_by_side, [&](int64_t shard) { return place >= shard_sizes_[shard]; });
      for (const int64_t shard : side_by_side) indices.push_back(starts[shard] + place);
    }
  }
  for (int64_t first = 0, window = 0; first < samples_; first += blocks_.window, ++window) {
    const int64_t count = std::min(blocks_.window, samples_ - first);
    shuffle(std::span(indices).subspan(first, count), random(kFirstWindow + window));
  }
}

Sampler make_sampler(const ShuffleOptions& options, uint64_t seed, const Dataset& train) {
  if (options.kind == ShuffleKind::kFull) return {seed, train.size()};
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < train.size(); ++i) {
    if (i == 0 || train.shard(i) != train.shard(i - 1)) sizes.push_back(0);
    ++sizes.back();
  }
  return {seed, std::move(sizes), options};
}

}  // namespace largo::data
