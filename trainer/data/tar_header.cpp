#include "trainer/data/tar_header.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace largo::data {

namespace {

constexpr uint64_t kMostSize = uint64_t{1} << 62;  // sums with offsets stay within 64 bits

std::string_view text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Up to the first zero byte.
std::string_view string_field(std::span<const uint8_t> field) {
  const std::string_view all = text(field);
  return all.substr(0, all.find('\0'));
}

// Big-endian with the highest bit set, GNU's and star's form of numbers that octal digits have no
// room for.
uint64_t base_256(std::span<const uint8_t> field, const char* what, const TarPlace& place) {
  if ((field[0] & 0x40) != 0) refuse_tar(place, "the ", what, " is negative");
  uint64_t value = field[0] & 0x3f;
  for (const uint8_t byte : field.subspan(1)) {
    if (value > kMostSize >> 8) refuse_tar(place, "the ", what, " is above 2^62");
    value = value << 8 | byte;
  }
  return value;
}

// Octal digits between spaces and zero bytes; an empty field is 0.
uint64_t number_field(std::span<const uint8_t> field, const char* what, const TarPlace& place) {
  if ((field[0] & 0x80) != 0) return base_256(field, what, place);
  constexpr std::string_view kBlank(" \0", 2);
  std::string_view digits = text(field);
  digits.remove_prefix(std::min(digits.find_first_not_of(kBlank), digits.size()));
  digits = digits.substr(0, digits.find_first_of(kBlank));
  if (digits.empty()) return 0;
  uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, 8);
  if (error != std::errc() || stop != end) {
    refuse_tar(place, "the ", what, " is not an octal number");
  }
  return value;
}

void check_sum(std::span<const uint8_t> block, const TarPlace& place) {
  constexpr size_t kAt = 148, kLength = 8;
  int64_t as_unsigned = 0, as_signed = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    const uint8_t byte = i >= kAt && i < kAt + kLength ? ' ' : block[i];
    as_unsigned += byte;
    as_signed += static_cast<int8_t>(byte);
  }
  const auto stored =
      static_cast<int64_t>(number_field(block.subspan(kAt, kLength), "header's checksum", place));
  if (stored == as_unsigned || stored == as_signed) return;
  if (place.offset == 0) {
    refuse_tar(place, "the header's checksum is wrong; this is no tar archive, or a damaged one");
  }
  refuse_tar(place, "the header's checksum is wrong; the archive is damaged");
}

// One record from the start of `data`, which it is taken from.
std::pair<std::string_view, std::string_view> take_record(std::string_view& data,
                                                          const TarPlace& place) {
  size_t length = 0;
  const char* end = data.data() + data.size();
  const auto [stop, error] = std::from_chars(data.data(), end, length);
  const auto digits = static_cast<size_t>(stop - data.data());
  // The shortest is "5 a=\n" behind its digits.
  if (error != std::errc() || length > data.size() || length < digits + 4 || *stop != ' ' ||
      data[length - 1] != '\n') {
    refuse_tar(place, "the pax header has a record of wrong length");
  }
  const std::string_view record = data.substr(digits + 1, length - digits - 2);
  const size_t equals = record.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    refuse_tar(place, "the pax header has a record without key");
  }
  data.remove_prefix(length);
  return {record.substr(0, equals), record.substr(equals + 1)};
}

uint64_t pax_size(std::string_view value, const TarPlace& place) {
  uint64_t size = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, size);
  if (error != std::errc() || stop != end || size > kMostSize) {
    refuse_tar(place, "the pax header's size is not a number of bytes");
  }
  return size;
}

}  // namespace

TarHeader parse_tar_header(std::span<const uint8_t> block, const TarPlace& place) {
  LARGO_CHECK(block.size() == kTarBlock, "a block of ", block.size());
  check_sum(block, place);
  TarHeader header;
  header.name = string_field(block.first(100));
  header.size = number_field(block.subspan(124, 12), "size", place);
  header.type = static_cast<char>(block[156]);
  const std::string_view magic = text(block.subspan(257, 8));
  const bool gnu = magic.substr(0, 7) == "ustar  ";
  if (!gnu && magic.substr(0, 5) == "ustar") {
    const std::string_view prefix = string_field(block.subspan(345, 155));
    if (!prefix.empty()) header.name = std::string(prefix) + "/" + header.name;
  }
  if (header.type == '\0') header.type = header.name.ends_with('/') ? '5' : '0';
  header.extends = header.type == 'S' && block[482] != 0;
  return header;
}

bool is_zero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

PaxRecords parse_pax(std::span<const uint8_t> data, const TarPlace& place) {
  PaxRecords records;
  std::string_view rest = text(data);
  while (!rest.empty()) {
    const auto [key, value] = take_record(rest, place);
    if (key == "path") {
      records.path.reset();
      if (!value.empty()) records.path = value;
    } else if (key == "size") {
      records.size.reset();
      if (!value.empty()) records.size = pax_size(value, place);
    } else if (key.starts_with("GNU.sparse.")) {
      records.sparse = true;
    }
  }
  return records;
}

}  // namespace largo::data
