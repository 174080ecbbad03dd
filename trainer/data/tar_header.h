// The blocks of a tar archive's headers, one by one. TarReader puts them together.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "comm/base/error.h"

namespace largo::data {

constexpr uint64_t kTarBlock = 512;

// Where in which archive, for messages.
struct TarPlace {
  const std::string& archive;
  uint64_t offset;
};

template <class... Parts>
[[noreturn]] void refuse_tar(const TarPlace& place, const Parts&... parts) {
  fail(ExitCode::kBadData, place.archive, ": byte ", place.offset, ": ", parts...);
}

struct TarHeader {
  char type = '0';   // POSIX's typeflag, or GNU's; version 7's zero byte is '0', or '5' for folders
  std::string name;  // with ustar's prefix
  uint64_t size = 0;     // as written, whether data follow or not
  bool extends = false;  // a GNU sparse header of which another block follows
};

// A block of 512 bytes. Throws Error{kBadData} where the checksum is wrong (bytes summed as
// unsigned or, as some old writers did, as signed) or the size is no number, negative or above
// 2^62.
TarHeader parse_tar_header(std::span<const uint8_t> block, const TarPlace& place);

bool is_zero(std::span<const uint8_t> bytes);

// What a pax extended header says of the next entry. Other keys than these are passed over.
struct PaxRecords {
  std::optional<std::string> path;
  std::optional<uint64_t> size;
  bool sparse = false;  // any GNU.sparse.… key
};

// The data of a pax extended header: records "LENGTH KEY=VALUE\n". An empty value takes back an
// earlier one. Throws Error{kBadData} for anything else.
PaxRecords parse_pax(std::span<const uint8_t> data, const TarPlace& place);

}  // namespace largo::data
