// Any bytes are a tar archive or an Error, never a crash, and what is found lies inside them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/tar_file.h"
#include "trainer/data/tar_index.h"
#include "trainer/data/tar_samples.h"

namespace largo::data {
namespace {

void walk(const ByteSource& archive) {
  TarReader reader(archive);
  uint64_t at = 0;
  while (const std::optional<TarEntry> entry = reader.next()) {
    LARGO_CHECK(entry->header_offset >= at && entry->data_offset > entry->header_offset &&
                    entry->data_offset % kTarBlock == 0 && entry->data_offset <= archive.size() &&
                    entry->size <= archive.size() - entry->data_offset,
                "entry at byte ", entry->header_offset);
    LARGO_CHECK(reader.data(*entry).size() == entry->size, "data");
    LARGO_CHECK(why_refused(*entry) || printable(entry->name).size() <= 203, "name");
    at = entry->data_offset + entry->size;
  }
}

void find(const ByteSource& archive) {
  TarIndex index{.shape = {3, 0, 0}, .shards = {{.file = "fuzz", .bytes = archive.size()}}};
  index.samples = find_samples(archive, 10, [](const std::string& message) {
                    LARGO_CHECK(!message.empty(), "message");
                  }).samples;
  index.shards[0].end = index.samples.size();
  for (const TarSample& sample : index.samples) {
    LARGO_CHECK(describe_sample(archive, sample).find(": sample ") != std::string::npos, "key");
  }
  LARGO_CHECK(parse_tar_index(encode(index)).samples == index.samples, "index");
}

// Headers get the checksum they should have: otherwise hardly any change comes past it.
std::vector<uint8_t> repaired(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> archive(bytes.begin(), bytes.end());
  constexpr std::string_view kMagic = "ustar";
  for (size_t at = 0; at + kTarBlock <= archive.size(); at += kTarBlock) {
    uint8_t* const block = archive.data() + at;
    if (!std::equal(kMagic.begin(), kMagic.end(), block + 257)) continue;
    std::fill_n(block + 148, 8, uint8_t{' '});
    unsigned sum = std::accumulate(block, block + kTarBlock, 0U);
    for (int digit = 5; digit >= 0; --digit, sum >>= 3) {
      block[148 + digit] = static_cast<uint8_t>('0' + (sum & 7));
    }
  }
  return archive;
}

void check(std::span<const uint8_t> bytes) {
  const MemoryBytes archive(bytes, "fuzz");
  for (const auto action : {walk, find}) {
    try {
      action(archive);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kBadData) throw;
    }
  }
}

}  // namespace
}  // namespace largo::data

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(data, size);
  largo::data::check(bytes);
  largo::data::check(largo::data::repaired(bytes));
  return 0;
}
