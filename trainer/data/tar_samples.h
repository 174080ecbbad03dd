// The samples of one tar shard, in the convention of WebDataset.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trainer/data/byte_source.h"

namespace largo::data {

constexpr int64_t kMostClasses = 1'000'000;

// Where a sample's image is. Offsets count in blocks of 512 bytes, since an index holds millions.
struct TarSample {
  uint32_t header_block = 0;  // of the first header that belongs to the image's entry
  uint32_t data_block = 0;
  uint32_t image_bytes = 0;
  uint32_t label = 0;

  friend bool operator==(const TarSample&, const TarSample&) = default;
};

struct TarSamples {
  std::vector<TarSample> samples;
  bool end_was_marked = true;  // see TarReader
};

// A sample is made of the entries that follow one another and have the same key: the path up to
// the first dot of its last component. What follows that dot, in whatever case, is the kind of
// entry: jpg, jpeg and png are images; cls is the label as decimal digits; json is an object whose
// members "label" and "cls", where there, are the label. Other entries are passed over, and so are
// keys with neither image nor label, and names without dot or with nothing before it.
//
// `bad` is told of each sample that is left out, naming shard, key and byte offset, and may throw:
// without image or with two; without label, with two that differ, or with one that is no integer in
// 0 … classes − 1 (kMostClasses where not given); with an entry that why_refused() names; with an
// image of no bytes or more than 1 GiB. Throws what TarReader throws, and Error{kBadData} for an
// archive of more than 2 TiB.
TarSamples find_samples(const ByteSource& shard, std::optional<int64_t> classes,
                        const std::function<void(const std::string&)>& bad);

// "SHARD: sample KEY at byte N", for messages. Reads the header again, which is cheaper than
// keeping a million keys; where that fails the key is left out. Never throws Error.
std::string describe_sample(const ByteSource& shard, const TarSample& sample);

}  // namespace largo::data
