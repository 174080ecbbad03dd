#include "trainer/data/tar_file.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "comm/base/error.h"

namespace largo::data {

namespace {

constexpr size_t kWindow = 8192;                        // of small reads
constexpr uint64_t kMostExtension = uint64_t{1} << 20;  // bytes of one extended header
constexpr size_t kMostName = 4096;

uint64_t padded(uint64_t size) { return (size + kTarBlock - 1) / kTarBlock * kTarBlock; }

TarEntry::Type entry_type(char type, bool sparse) {
  switch (type) {
    case '0':
    case '7':  // contiguous on disks that know it
      return sparse ? TarEntry::Type::kSparse : TarEntry::Type::kFile;
    case '1':
      return TarEntry::Type::kHardLink;
    case '2':
      return TarEntry::Type::kSymbolicLink;
    case '3':
    case '4':
    case '6':
      return TarEntry::Type::kDevice;
    case 'S':
      return TarEntry::Type::kSparse;
    default:
      return TarEntry::Type::kOther;
  }
}

// Links, devices and folders say sizes, too, but no data follow.
bool has_data(char type) { return type < '1' || type > '6'; }

// Folders, folders with a list of their files, volume labels.
bool is_passed_over(char type) { return type == '5' || type == 'D' || type == 'V'; }

bool has_parent_component(std::string_view name) {
  while (true) {
    const size_t slash = name.find('/');
    if (name.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    name.remove_prefix(slash + 1);
  }
}

void check_not_compressed(const ByteSource& source) {
  struct Format {
    std::string_view magic;
    size_t offset;
    const char* name;
    const char* cure;
  };
  constexpr std::array<Format, 5> kFormats = {{{"\x1f\x8b", 0, "gzip", "gunzip"},
                                               {"\x28\xb5\x2f\xfd", 0, "zstd", "zstd -d"},
                                               {"\xfd\x37zXZ", 0, "xz", "unxz"},
                                               {"1AY&SY", 4, "bzip2", "bunzip2"},
                                               {"\x04\x22\x4d\x18", 0, "lz4", "lz4 -d"}}};
  std::array<uint8_t, 16> start{};
  source.read(0, start);
  const std::string_view bytes(reinterpret_cast<const char*>(start.data()), start.size());
  for (const Format& format : kFormats) {
    if (!bytes.substr(format.offset).starts_with(format.magic)) continue;
    refuse_tar({source.name(), 0}, "the archive is compressed (", format.name,
               "), so that samples cannot be read one by one; unpack it: ", format.cure, " ",
               source.name());
  }
}

}  // namespace

std::optional<std::string> why_refused(const TarEntry& entry) {
  switch (entry.type) {
    case TarEntry::Type::kFile:
      break;
    case TarEntry::Type::kHardLink:
      return "is a hard link";
    case TarEntry::Type::kSymbolicLink:
      return "is a symbolic link";
    case TarEntry::Type::kDevice:
      return "is a device or a pipe";
    case TarEntry::Type::kSparse:
      return "is stored as a sparse file";
    case TarEntry::Type::kOther:
      return "is of an unknown type";
  }
  if (entry.name.empty()) return "has no name";
  if (entry.name.size() > kMostName) return "has a name of more than 4096 bytes";
  if (entry.name.find('\0') != std::string::npos) return "has a zero byte in its name";
  if (entry.name.front() == '/') return "has an absolute path";
  if (has_parent_component(entry.name)) return "has a path with ..";
  return std::nullopt;
}

std::string printable(const std::string& name) {
  constexpr size_t kMost = 200;
  std::string text = name.substr(0, kMost);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  return name.size() > kMost ? text + "..." : text;
}

// What extended headers say of the entry behind them.
struct TarReader::Extensions {
  uint64_t header_offset = 0;
  std::optional<std::string> long_name;  // GNU's
  PaxRecords pax;
};

TarReader::TarReader(const ByteSource& source, uint64_t offset)
    : source_(source), position_(offset) {}

std::optional<TarEntry> TarReader::next() {
  while (true) {
    Extensions extensions{.header_offset = position_, .long_name = {}, .pax = {}};
    std::optional<TarHeader> header = next_header();
    if (!header) return std::nullopt;
    while (std::string_view("xXgLK").find(header->type) != std::string_view::npos) {
      extend(*header, extensions);
      header = next_header();
      if (!header) {
        refuse_tar(place(extensions.header_offset), "an extended header without entry at the end");
      }
    }
    TarEntry entry = make_entry(*header, extensions);
    if (!is_passed_over(header->type)) return entry;
  }
}

std::vector<uint8_t> TarReader::data(const TarEntry& entry) {
  std::vector<uint8_t> bytes(entry.size);
  read_exactly(entry.data_offset, bytes);
  return bytes;
}

void TarReader::read_exactly(uint64_t offset, std::span<uint8_t> to) {
  const bool inside =
      offset >= window_offset_ && offset + to.size() <= window_offset_ + window_.size();
  if (!inside && to.size() <= kWindow) {
    window_.resize(kWindow);
    window_.resize(source_.read(offset, window_));
    window_offset_ = offset;
  }
  size_t got = 0;
  if (to.size() <= kWindow) {
    const size_t at = offset - window_offset_;
    got = std::min(to.size(), window_.size() - at);
    std::copy_n(window_.begin() + static_cast<std::ptrdiff_t>(at), got, to.begin());
  } else {
    got = source_.read(offset, to);
  }
  if (got < to.size()) {
    refuse_tar(place(offset), "expected ", to.size(), " bytes, found ", got,
               "; the file is truncated");
  }
}

// The header at the position, which is moved behind it; none at the archive's end.
std::optional<TarHeader> TarReader::next_header() {
  if (position_ == source_.size() && position_ > 0) return std::nullopt;
  if (source_.size() == 0) refuse_tar(place(0), "the file is empty");
  if (position_ == 0) check_not_compressed(source_);
  std::array<uint8_t, kTarBlock> block;
  read_exactly(position_, block);
  if (is_zero(block)) {
    check_end(position_);
    return std::nullopt;
  }
  const TarHeader header = parse_tar_header(block, place(position_));
  position_ += kTarBlock;
  for (bool extends = header.extends; extends; position_ += kTarBlock) {
    read_exactly(position_, block);
    extends = block[504] != 0;
  }
  return header;
}

void TarReader::check_end(uint64_t mark) {
  std::vector<uint8_t> bytes(size_t{1} << 16);
  for (uint64_t offset = mark; offset < source_.size(); offset += bytes.size()) {
    bytes.resize(source_.read(offset, bytes));
    const auto other = std::find_if(bytes.begin(), bytes.end(), [](uint8_t b) { return b != 0; });
    if (other != bytes.end()) {
      refuse_tar(place(offset + static_cast<uint64_t>(other - bytes.begin())),
                 "something stands behind the archive's end mark at byte ", mark,
                 "; archives that were only joined must be made one: tar --concatenate");
    }
    if (bytes.empty()) break;
  }
  end_was_marked_ = true;
  position_ = source_.size();
}

// Reads the extended header's data and moves the position behind them.
void TarReader::extend(const TarHeader& header, Extensions& extensions) {
  if (header.size > kMostExtension) {
    refuse_tar(place(position_ - kTarBlock), "an extended header of ", header.size,
               " bytes; legal: at most ", kMostExtension);
  }
  const TarPlace where = place(position_);
  std::vector<uint8_t> bytes(header.size);
  read_exactly(position_, bytes);
  position_ += padded(header.size);
  if (header.type == 'L') {
    const auto end = std::find(bytes.begin(), bytes.end(), uint8_t{0});
    extensions.long_name = std::string(bytes.begin(), end);
  } else if (header.type == 'g') {
    const PaxRecords global = parse_pax(bytes, where);
    if (global.path || global.size) {
      refuse_tar(where, "a pax header gives one path or size to all entries");
    }
  } else if (header.type != 'K') {
    extensions.pax = parse_pax(bytes, where);
  }
}

// The entry whose header was just read; moves the position behind its data.
TarEntry TarReader::make_entry(const TarHeader& header, const Extensions& extensions) {
  TarEntry entry{.name = extensions.pax.path.value_or(extensions.long_name.value_or(header.name)),
                 .type = entry_type(header.type, extensions.pax.sparse),
                 .header_offset = extensions.header_offset,
                 .data_offset = position_,
                 .size = has_data(header.type) ? extensions.pax.size.value_or(header.size) : 0};
  const uint64_t left = source_.size() - position_;
  if (padded(entry.size) > left) {
    refuse_tar(place(entry.header_offset), printable(entry.name), ": ", entry.size,
               " bytes of data, but the file has ", left, " left; it is truncated");
  }
  position_ += padded(entry.size);
  return entry;
}

}  // namespace largo::data
