// Any bytes are a tar archive or an Error, never a crash, and what is found lies inside them.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

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

}  // namespace
}  // namespace largo::data

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const largo::data::MemoryBytes archive(std::span(data, size), "fuzz");
  for (const auto action : {largo::data::walk, largo::data::find}) {
    try {
      action(archive);
    } catch (const largo::Error& error) {
      if (error.code() != largo::ExitCode::kBadData) throw;
    }
  }
  return 0;
}
