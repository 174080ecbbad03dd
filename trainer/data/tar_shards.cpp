#include "trainer/data/tar_shards.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/brace_pattern.h"
#include "trainer/data/encoded_dataset.h"
#include "trainer/data/imagenet_statistics.h"
#include "trainer/data/index_bytes.h"
#include "trainer/data/index_cache.h"
#include "trainer/data/shard_files.h"
#include "trainer/data/tar_header.h"
#include "trainer/data/tar_index.h"
#include "trainer/data/tar_scan.h"

namespace largo::data {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMostOpenShards = 256;  // of each part; systems allow 1024 files or more

// The value of data.path or data.val_path.
struct Pattern {
  std::string key;
  std::string text;

  std::vector<fs::path> shards() const {
    std::vector<fs::path> paths;
    for (std::string& name : expand_braces(text, key)) paths.emplace_back(std::move(name));
    return paths;
  }
};

Pattern train_pattern(const DataOptions& options) { return {"data.path", options.path}; }

std::optional<Pattern> val_pattern(const DataOptions& options) {
  if (options.val_path.empty()) return std::nullopt;
  return Pattern{"data.val_path", options.val_path};
}

class TarShards final : public EncodedDataset {
 public:
  TarShards(SampleShape shape, int64_t classes, TarIndex index, std::vector<ShardFiles::File> files,
            bool random_reads)
      : EncodedDataset(shape),
        classes_(classes),
        samples_(std::move(index.samples)),
        files_(std::move(files), kMostOpenShards, random_reads) {
    for (const TarIndex::Shard& shard : index.shards) ends_.push_back(shard.end);
  }

  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  int64_t classes() const override { return classes_; }
  int64_t label(int64_t index) const override { return at(index).label; }
  int64_t stored_bytes(int64_t index) const override { return at(index).image_bytes; }
  int64_t shard(int64_t index) const override {
    const auto end = std::upper_bound(ends_.begin(), ends_.end(), static_cast<size_t>(index));
    return end - ends_.begin();
  }

 private:
  const TarSample& at(int64_t index) const { return samples_[static_cast<size_t>(index)]; }

  std::shared_ptr<const OpenFile> shard_of(int64_t index) const {
    return files_.get(static_cast<size_t>(shard(index)));
  }

  void fetch(int64_t index, std::vector<uint8_t>& file) const override {
    const TarSample& sample = at(index);
    file.resize(sample.image_bytes);
    const auto shard = shard_of(index);
    const size_t got = shard->read(sample.data_block * kTarBlock, file);
    if (got < file.size()) {
      fail(ExitCode::kBadData, name(index), ": expected ", file.size(), " bytes, found ", got,
           "; the shard was cut after it was opened");
    }
  }

  std::string name(int64_t index) const override {
    return describe_sample(*shard_of(index), at(index));
  }

  int64_t classes_;
  std::vector<TarSample> samples_;
  std::vector<size_t> ends_;  // of the shards' samples
  ShardFiles files_;
};

// What the index of these shards belongs to.
std::string make_stamp(const Pattern& pattern, const std::vector<fs::path>& shards,
                       const DataOptions& options) {
  std::string stamp = concat("tar_shards, on_bad_sample ", static_cast<int>(options.on_bad_sample),
                             ", classes ", options.classes.value_or(0), "\n");
  for (const fs::path& shard : shards) {
    struct stat status {};
    if (stat(shard.c_str(), &status) != 0) {
      fail(ExitCode::kInputMissing, shard.string(), ": ", std::strerror(errno), "; check ",
           pattern.key, ", ", pattern.text);
    }
    if (S_ISDIR(status.st_mode)) {
      throw OptionError({pattern.key, concat(shard.string(), " is a folder; legal: its shards, as ",
                                             (shard / "train-{0000..0146}.tar").string())});
    }
    stamp += concat(shard.filename().string(), " ", status.st_size, " ", status.st_mtim.tv_sec, ".",
                    status.st_mtim.tv_nsec, "\n");
  }
  return stamp;
}

// Distinct for distinct sets of shards in one folder (FNV-1a).
std::string cache_name(const std::vector<fs::path>& shards) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const fs::path& shard : shards) {
    for (const char c : shard.filename().string() + "\n") {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
  }
  std::ostringstream name;
  name << ".largo_tar_index_" << std::hex << hash;
  return name.str();
}

std::optional<TarIndex> load_kept(const IndexCache& cache, const std::string& stamp) {
  const std::optional<std::string> bytes = cache.load(stamp);
  if (!bytes) return std::nullopt;
  try {
    return parse_tar_index(*bytes);
  } catch (const Error&) {
    return std::nullopt;  // damaged: as if it were not there
  }
}

std::string index_part(const Pattern& pattern, const DataOptions& options,
                       const IndexContext& context) {
  const std::vector<fs::path> shards = pattern.shards();
  const std::string stamp = make_stamp(pattern, shards, options);
  const fs::path folder = shards.front().has_parent_path() ? shards.front().parent_path() : ".";
  const IndexCache cache({folder, context.fallback_folder}, cache_name(shards));
  std::optional<TarIndex> index = load_kept(cache, stamp);
  const bool kept = index.has_value();
  if (!kept) {
    index = scan_shards(
        shards, {.on_bad_sample = options.on_bad_sample, .classes = options.classes}, context.warn);
  }
  if (index->left_out > 0) {
    context.warn(concat(index->left_out, " bad samples of ", pattern.key, " ", pattern.text,
                        " are left out, ", index->samples.size(), " remain"));
  }
  std::string bytes = encode(*index);
  if (!kept && !cache.store(stamp, bytes)) {
    context.warn(concat("the index of ", pattern.text, " cannot be kept in ", folder.string(),
                        " or ", context.fallback_folder.string(),
                        ", and is made again at the next start"));
  }
  return bytes;
}

struct Parts {
  TarIndex train;
  std::optional<TarIndex> val;
};

std::string make_index(const DataOptions& options, const IndexContext& context) {
  const auto val = val_pattern(options);
  std::string bytes;
  append_text(bytes, index_part(train_pattern(options), options, context));
  if (val) append_text(bytes, index_part(*val, options, context));
  return bytes;
}

TarIndex parse_part(std::string_view bytes, const Pattern& pattern) {
  TarIndex index = parse_tar_index(bytes);
  const std::vector<fs::path> shards = pattern.shards();
  const bool same =
      std::equal(shards.begin(), shards.end(), index.shards.begin(), index.shards.end(),
                 [](const fs::path& a, const auto& b) { return a.filename().string() == b.file; });
  if (!same) {
    fail(ExitCode::kBadData, "the index is of other shards than ", pattern.key, ", ", pattern.text);
  }
  return index;
}

// Both parts' images have the training part's shape, and 3 channels where one part is in colour.
Parts parse_index(const DataOptions& options, std::string_view bytes) {
  IndexReader reader(bytes, "the index of tar shards");
  Parts parts{.train = parse_part(reader.text(bytes.size()), train_pattern(options)), .val = {}};
  if (const auto val = val_pattern(options)) {
    parts.val = parse_part(reader.text(bytes.size()), *val);
    parts.train.shape.channels = std::max(parts.train.shape.channels, parts.val->shape.channels);
  }
  reader.check_end();
  return parts;
}

int64_t count_classes(const DataOptions& options, const Parts& parts) {
  return options.classes.value_or(
      std::max(parts.train.classes(), parts.val ? parts.val->classes() : 0));
}

DataInfo describe_tar_shards(const DataOptions& options, const std::string& index) {
  const Parts parts = parse_index(options, index);
  DataInfo info{.train_samples = static_cast<int64_t>(parts.train.samples.size()),
                .val_samples = {},
                .shape = parts.train.shape,
                .classes = count_classes(options, parts)};
  if (parts.val) info.val_samples = static_cast<int64_t>(parts.val->samples.size());
  return info;
}

Datasets load_tar_shards(const DataOptions& options, const std::string& index, uint64_t) {
  Parts parts = parse_index(options, index);
  const SampleShape shape = parts.train.shape;
  const int64_t classes = count_classes(options, parts);
  const auto make = [&](TarIndex part, const Pattern& pattern, bool random_reads) {
    const std::vector<fs::path> shards = pattern.shards();
    std::vector<ShardFiles::File> files;
    for (size_t i = 0; i < shards.size(); ++i) files.push_back({shards[i], part.shards[i].bytes});
    return std::make_unique<TarShards>(shape, classes, std::move(part), std::move(files),
                                       random_reads);
  };
  Datasets sets;
  sets.train = make(std::move(parts.train), train_pattern(options),
                    options.shuffle.kind == ShuffleKind::kFull);
  if (parts.val) {
    sets.val = make(std::move(*parts.val), *val_pattern(options), /*random_reads=*/false);
  }
  ChannelStatistics usual = imagenet_statistics(shape.channels);
  sets.mean = std::move(usual.mean);
  sets.std = std::move(usual.std);
  return sets;
}

std::vector<fs::path> files_of_tar_shards(const DataOptions& options, const std::string&) {
  std::vector<fs::path> files = train_pattern(options).shards();
  if (const auto val = val_pattern(options)) {
    const std::vector<fs::path> shards = val->shards();
    files.insert(files.end(), shards.begin(), shards.end());
  }
  return files;
}

}  // namespace

DataKind tar_shards_data() {
  return {.index = make_index,
          .describe = describe_tar_shards,
          .load = load_tar_shards,
          .files = files_of_tar_shards};
}

}  // namespace largo::data
