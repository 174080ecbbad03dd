#include "trainer/data/tar_scan.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <utility>

#include "comm/base/error.h"
#include "trainer/data/byte_source.h"
#include "trainer/data/decode.h"
#include "trainer/data/skipped_samples.h"
#include "trainer/data/tar_header.h"

namespace largo::data {

namespace {

constexpr size_t kMostMessages = 3;  // of bad samples, told one by one

struct ScannedShard {
  uint64_t bytes = 0;
  TarSamples found;
  std::optional<ImageHeader> first_image;
  int64_t bad = 0;
  std::vector<std::string> messages;  // of the first bad samples
  std::exception_ptr error;
};

ImageHeader header_of(const ByteSource& shard, const TarSample& sample) {
  std::vector<uint8_t> image(sample.image_bytes);
  image.resize(shard.read(sample.data_block * kTarBlock, image));
  return read_image_header(image, describe_sample(shard, sample));
}

void scan(const std::filesystem::path& path, const TarScanOptions& options, ScannedShard& result) {
  const OpenFile shard(path, "check data.path and data.val_path");
  const std::function<void(const std::string&)> bad = [&](const std::string& message) {
    if (options.on_bad_sample == OnBadSample::kError) fail(ExitCode::kBadData, message);
    ++result.bad;
    if (result.messages.size() < kMostMessages) result.messages.push_back(message);
  };
  result.bytes = shard.size();
  result.found = find_samples(shard, options.classes, bad);
  std::vector<TarSample>& samples = result.found.samples;
  size_t unreadable = 0;
  while (unreadable < samples.size() && !result.first_image) {
    try {
      result.first_image = header_of(shard, samples[unreadable]);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kBadData) throw;
      bad(error.what());
      ++unreadable;
    }
  }
  samples.erase(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(unreadable));
}

// After an error no further shard is taken; those before it were, and are read to their end.
std::vector<ScannedShard> scan_all(const std::vector<std::filesystem::path>& paths,
                                   const TarScanOptions& options) {
  std::vector<ScannedShard> shards(paths.size());
  std::atomic<size_t> next = 0;
  std::atomic<bool> failed = false;
  const auto work = [&] {
    while (!failed) {
      const size_t at = next++;
      if (at >= paths.size()) return;
      try {
        scan(paths[at], options, shards[at]);
      } catch (...) {
        shards[at].error = std::current_exception();
        failed = true;
      }
    }
  };
  {
    const size_t threads = std::min<size_t>(std::max(options.threads, 1), paths.size());
    std::vector<std::jthread> others;
    for (size_t i = 1; i < threads; ++i) others.emplace_back(work);
    work();
  }
  for (const ScannedShard& shard : shards) {
    if (shard.error) std::rethrow_exception(shard.error);
  }
  return shards;
}

// Three channels where any is in colour, and the size that all have.
SampleShape common_shape(const std::vector<ScannedShard>& shards) {
  SampleShape shape;
  for (const ScannedShard& shard : shards) {
    if (!shard.first_image) continue;
    const ImageHeader& image = *shard.first_image;
    if (shape.channels == 0) shape = {1, image.height, image.width};
    if (!image.grey) shape.channels = 3;
    if (shape.height != image.height || shape.width != image.width) shape.height = shape.width = 0;
  }
  return shape;
}

void report_bad(const std::vector<ScannedShard>& shards, const TarIndex& index,
                const std::function<void(const std::string&)>& warn) {
  if (index.left_out == 0) return;
  std::vector<std::string> messages;
  for (const ScannedShard& shard : shards) {
    messages.insert(messages.end(), shard.messages.begin(), shard.messages.end());
  }
  const auto all = static_cast<int64_t>(index.samples.size()) + index.left_out;
  if (static_cast<double>(index.left_out) > SkippedSamples::most() * static_cast<double>(all)) {
    fail(ExitCode::kBadData, index.left_out, " of ", all, " samples are bad; legal under ",
         "data.on_bad_sample: skip: at most ", SkippedSamples::most() * 100,
         " %. The first: ", messages.front());
  }
  messages.resize(std::min(messages.size(), kMostMessages));
  for (const std::string& message : messages) warn("left out: " + message);
}

void report_unmarked(const std::vector<ScannedShard>& shards,
                     const std::vector<std::filesystem::path>& paths,
                     const std::function<void(const std::string&)>& warn) {
  const auto unmarked = [](const ScannedShard& shard) { return !shard.found.end_was_marked; };
  const auto first = std::find_if(shards.begin(), shards.end(), unmarked);
  if (first == shards.end()) return;
  warn(concat(std::count_if(first, shards.end(), unmarked), " of ", shards.size(),
              " shards have no end mark, the first of them ",
              paths[static_cast<size_t>(first - shards.begin())].string(),
              "; if copying was interrupted, samples are missing"));
}

}  // namespace

TarIndex scan_shards(const std::vector<std::filesystem::path>& paths, const TarScanOptions& options,
                     const std::function<void(const std::string&)>& warn) {
  std::vector<ScannedShard> shards = scan_all(paths, options);
  TarIndex index;
  index.shape = common_shape(shards);
  for (size_t i = 0; i < shards.size(); ++i) {
    std::vector<TarSample>& samples = shards[i].found.samples;
    index.samples.insert(index.samples.end(), samples.begin(), samples.end());
    index.left_out += shards[i].bad;
    index.shards.push_back({.file = paths[i].filename().string(),
                            .bytes = shards[i].bytes,
                            .end = index.samples.size()});
    std::vector<TarSample>().swap(samples);
  }
  report_bad(shards, index, warn);
  if (index.samples.empty()) {
    fail(ExitCode::kBadData, paths.front().string(),
         paths.size() > 1 ? concat(" and ", paths.size() - 1, " more shards") : "",
         ": no samples; expected NAME.jpg, .jpeg or .png and NAME.cls or .json of each");
  }
  report_unmarked(shards, paths, warn);
  return index;
}

}  // namespace largo::data
