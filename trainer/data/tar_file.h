// Reader of tar archives: POSIX ustar and pax, GNU long names and base-256 numbers, version 7.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/byte_source.h"
#include "trainer/data/tar_header.h"

namespace largo::data {

struct TarEntry {
  enum class Type { kFile, kHardLink, kSymbolicLink, kDevice, kSparse, kOther };

  std::string name;  // as it stands there; see why_refused()
  Type type = Type::kFile;
  uint64_t header_offset = 0;  // of the first block that belongs to the entry, a multiple of 512
  uint64_t data_offset = 0;    // a multiple of 512
  uint64_t size = 0;           // of the data, all of which is inside the archive
};

// Why an entry is not read, whatever is in it: links, devices, sparse files and unknown types;
// names that are empty, absolute, longer than 4096 bytes, or have a component `..` or a zero byte.
std::optional<std::string> why_refused(const TarEntry& entry);

// For messages: control characters are replaced, and long names cut.
std::string printable(const std::string& name);

// Walks over the entries of an archive. Directories and volume labels are passed over. Headers and
// small data are read through a window, so that the two or three small reads per entry cost one.
// Every function throws Error{kBadData}, naming the archive and the byte offset, for what breaks
// the archive's structure: checksums, numbers, sizes beyond the file's end, extended headers that
// cannot be read, an empty or a compressed file, anything but zeros behind the end mark.
class TarReader {
 public:
  // From `offset`, where a header must stand. `source` must outlive this object.
  explicit TarReader(const ByteSource& source, uint64_t offset = 0);

  // The next entry, or none at the end of the archive.
  std::optional<TarEntry> next();

  // After the end: whether it was marked by zero blocks. An archive that lacks them is accepted
  // where its file ends exactly behind an entry (its last block included): writers that are
  // interrupted leave such files, but some also make them.
  bool end_was_marked() const { return end_was_marked_; }

  // The data of an entry that next() returned. Memory is taken for entry.size bytes.
  std::vector<uint8_t> data(const TarEntry& entry);

 private:
  struct Extensions;

  void read_exactly(uint64_t offset, std::span<uint8_t> to);
  std::optional<TarHeader> next_header();
  void check_end(uint64_t mark);
  void extend(const TarHeader& header, Extensions& extensions);
  TarEntry make_entry(const TarHeader& header, const Extensions& extensions);
  TarPlace place(uint64_t offset) const { return {source_.name(), offset}; }

  const ByteSource& source_;
  uint64_t position_;  // of the next header, or of what follows the one just read
  bool end_was_marked_ = false;
  uint64_t window_offset_ = 0;
  std::vector<uint8_t> window_;
};

}  // namespace largo::data
