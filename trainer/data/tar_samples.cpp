#include "trainer/data/tar_samples.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "comm/base/error.h"
#include "trainer/data/label_text.h"
#include "trainer/data/tar_file.h"

namespace largo::data {

namespace {

constexpr uint64_t kMostImageBytes = uint64_t{1} << 30;
constexpr uint64_t kMostClsBytes = 64;
constexpr uint64_t kMostJsonBytes = uint64_t{1} << 20;
constexpr uint64_t kMostShardBytes = (uint64_t{1} << 32) * kTarBlock;

struct NameParts {
  std::string key;
  std::string extension;  // in lower case; empty: none
};

NameParts split_name(const std::string& name) {
  const size_t slash = name.rfind('/');
  const size_t base = slash == std::string::npos ? 0 : slash + 1;
  const size_t dot = name.find('.', base);
  if (dot == std::string::npos || dot == base) return {name, ""};
  NameParts parts{name.substr(0, dot), name.substr(dot + 1)};
  for (char& c : parts.extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return parts;
}

std::string place(const ByteSource& shard, const std::string& key, uint64_t offset) {
  return concat(shard.name(), ": sample ", printable(key), " at byte ", offset);
}

class SampleFinder {
 public:
  // All must outlive this object.
  SampleFinder(const ByteSource& shard, std::optional<int64_t> classes,
               const std::function<void(const std::string&)>& bad)
      : shard_(shard), classes_(classes), bad_(bad), reader_(shard) {}

  TarSamples find() {
    while (const std::optional<TarEntry> entry = reader_.next()) add(*entry);
    finish();
    return {.samples = std::move(samples_), .end_was_marked = reader_.end_was_marked()};
  }

 private:
  // What is known of the sample that is being read.
  struct Group {
    std::string key;
    uint64_t offset = 0;  // of the first entry
    std::optional<TarEntry> image = {};
    std::optional<int64_t> label = {};
    std::string flaw = {};  // the first one; empty: none
  };

  void add(const TarEntry& entry) {
    const std::optional<std::string> refused = why_refused(entry);
    const NameParts parts = split_name(entry.name);
    if (parts.extension.empty() && !refused) return;
    if (!group_ || parts.key != group_->key) {
      finish();
      group_ = Group{.key = parts.key, .offset = entry.header_offset};
    }
    if (refused) {
      add_flaw(entry, *refused);
    } else if (parts.extension == "jpg" || parts.extension == "jpeg" || parts.extension == "png") {
      add_image(entry);
    } else if (parts.extension == "cls") {
      add_label(entry, kMostClsBytes, parse_cls);
    } else if (parts.extension == "json") {
      add_label(entry, kMostJsonBytes, parse_json_labels);
    }
  }

  void add_image(const TarEntry& entry) {
    if (group_->image) return add_flaw(entry, "is the sample's second image");
    if (entry.size == 0 || entry.size > kMostImageBytes) {
      add_flaw(entry, concat("is an image of ", entry.size, " bytes; legal: 1 to 2^30"));
    }
    group_->image = entry;
  }

  void add_label(const TarEntry& entry, uint64_t most_bytes,
                 LabelText (*parse)(std::span<const uint8_t>)) {
    if (entry.size > most_bytes) {
      return add_flaw(entry, concat("has ", entry.size, " bytes; legal: at most ", most_bytes));
    }
    const LabelText found = parse(reader_.data(entry));
    if (!found.flaw.empty()) return add_flaw(entry, found.flaw);
    const int64_t classes = classes_.value_or(kMostClasses);
    for (const int64_t label : found.labels) {
      if (label < 0 || label >= classes) {
        return add_flaw(entry, concat("says label ", label, "; legal: 0 to ", classes - 1));
      }
      if (group_->label && *group_->label != label) {
        return add_flaw(entry, concat("says label ", label, ", after ", *group_->label));
      }
      group_->label = label;
    }
  }

  void add_flaw(const TarEntry& entry, const std::string& flaw) {
    if (!group_->flaw.empty()) return;
    group_->flaw = concat(printable(entry.name), " at byte ", entry.header_offset, " ", flaw);
  }

  void finish() {
    if (!group_) return;
    const Group group = *std::exchange(group_, std::nullopt);
    if (!group.flaw.empty()) {
      bad_(concat(place(shard_, group.key, group.offset), ": ", group.flaw));
    } else if (group.image && group.label) {
      samples_.push_back(
          {.header_block = static_cast<uint32_t>(group.image->header_offset / kTarBlock),
           .data_block = static_cast<uint32_t>(group.image->data_offset / kTarBlock),
           .image_bytes = static_cast<uint32_t>(group.image->size),
           .label = static_cast<uint32_t>(*group.label)});
    } else if (group.image || group.label) {
      bad_(concat(place(shard_, group.key, group.offset), ": has no ",
                  group.image ? "label (cls or json)" : "image (jpg, jpeg or png)",
                  "; the files of a sample must follow one another"));
    }
  }

  const ByteSource& shard_;
  std::optional<int64_t> classes_;
  const std::function<void(const std::string&)>& bad_;
  TarReader reader_;
  std::optional<Group> group_;
  std::vector<TarSample> samples_;
};

}  // namespace

TarSamples find_samples(const ByteSource& shard, std::optional<int64_t> classes,
                        const std::function<void(const std::string&)>& bad) {
  if (shard.size() > kMostShardBytes) {
    fail(ExitCode::kBadData, shard.name(), ": ", shard.size(), " bytes; legal: at most 2 TiB");
  }
  return SampleFinder(shard, classes, bad).find();
}

std::string describe_sample(const ByteSource& shard, const TarSample& sample) {
  const uint64_t offset = sample.header_block * kTarBlock;
  try {
    if (const auto entry = TarReader(shard, offset).next()) {
      return place(shard, split_name(entry->name).key, offset);
    }
  } catch (const Error&) {
    // What the caller reports is the error to show.
  }
  return concat(shard.name(), ": sample at byte ", offset);
}

}  // namespace largo::data
