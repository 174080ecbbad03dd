#include "trainer/data/tar_index.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "trainer/data/decode.h"
#include "trainer/data/index_bytes.h"
#include "trainer/data/tar_header.h"

namespace largo::data {

namespace {

static_assert(std::has_unique_object_representations_v<TarSample>,
              "samples are copied as they are");

constexpr std::string_view kMagic = "largo tar index 1\n";
constexpr size_t kMostFileName = 4096;

void check_samples(const TarIndex& index, const IndexReader& reader) {
  size_t at = 0;
  for (const TarIndex::Shard& shard : index.shards) {
    if (shard.end < at || shard.end > index.samples.size()) {
      reader.refuse("its shards do not divide its samples");
    }
    for (; at < shard.end; ++at) {
      const TarSample& sample = index.samples[at];
      if (sample.header_block >= sample.data_block || sample.label >= kMostClasses ||
          sample.data_block * kTarBlock + sample.image_bytes > shard.bytes) {
        reader.refuse("a sample lies outside its shard, or has a label that cannot be");
      }
    }
  }
  if (at != index.samples.size()) reader.refuse("a sample has no shard");
}

}  // namespace

int64_t TarIndex::classes() const {
  uint32_t largest = 0;
  for (const TarSample& sample : samples) largest = std::max(largest, sample.label);
  return int64_t{largest} + 1;
}

std::string encode(const TarIndex& index) {
  std::string bytes(kMagic);
  for (const int64_t number :
       {index.shape.channels, index.shape.height, index.shape.width, index.left_out}) {
    append_number(bytes, static_cast<uint64_t>(number));
  }
  append_number(bytes, index.shards.size());
  for (const TarIndex::Shard& shard : index.shards) {
    append_text(bytes, shard.file);
    append_number(bytes, shard.bytes);
    append_number(bytes, shard.end);
  }
  append_number(bytes, index.samples.size());
  bytes.append(reinterpret_cast<const char*>(index.samples.data()),
               index.samples.size() * sizeof(TarSample));
  return bytes;
}

TarIndex parse_tar_index(std::string_view bytes) {
  IndexReader reader(bytes, "the index of tar shards");
  if (reader.take(kMagic.size()) != kMagic) reader.refuse("it does not start like one");
  TarIndex index;
  index.shape.channels = static_cast<int64_t>(reader.number(3));
  index.shape.height = static_cast<int64_t>(reader.number(kMostPixels));
  index.shape.width = static_cast<int64_t>(reader.number(kMostPixels));
  index.left_out = static_cast<int64_t>(reader.number(uint64_t{1} << 62));
  constexpr size_t kShardBytes = 3 * sizeof(uint64_t);
  index.shards.resize(reader.count(kShardBytes));
  for (TarIndex::Shard& shard : index.shards) {
    shard.file = reader.text(kMostFileName);
    shard.bytes = reader.number(uint64_t{1} << 62);
    shard.end = reader.number(bytes.size());
  }
  index.samples.resize(reader.count(sizeof(TarSample)));
  const std::string_view samples = reader.take(index.samples.size() * sizeof(TarSample));
  if (!samples.empty()) std::memcpy(index.samples.data(), samples.data(), samples.size());
  reader.check_end();
  if (index.shape.channels != 1 && index.shape.channels != 3) {
    reader.refuse("its images have neither 1 nor 3 channels");
  }
  check_samples(index, reader);
  return index;
}

}  // namespace largo::data
