#include "tests/data/tar_bytes.h"

#include <numeric>

namespace largo::data {

namespace {

// `digits` octal digits.
std::string octal(uint64_t value, size_t digits) {
  std::string text(digits, '0');
  for (size_t i = digits; i-- > 0; value >>= 3) text[i] = static_cast<char>('0' + (value & 7));
  return text;
}

void put(std::string& header, size_t at, const std::string& text) {
  header.replace(at, text.size(), text);
}

std::string padded(std::string data) {
  data.resize((data.size() + 511) / 512 * 512);
  return data;
}

}  // namespace

std::string tar_header(const std::string& name, uint64_t size, const TarField& field) {
  std::string header(512, '\0');
  put(header, 0, name.substr(0, 100));
  put(header, 100, "0000644");
  put(header, 108, "0000000");
  put(header, 116, "0000000");
  put(header, 124, field.size.empty() ? octal(size, 11) : field.size);
  put(header, 136, octal(0, 11));
  put(header, 148, "        ");
  header[156] = field.type;
  if (field.format == TarFormat::kUstar) put(header, 257, std::string("ustar\0", 6) + "00");
  if (field.format == TarFormat::kGnu) put(header, 257, "ustar  ");
  put(header, 345, field.prefix);
  const int sum = std::accumulate(header.begin(), header.end(), 0, [](int so_far, char c) {
    return so_far + static_cast<unsigned char>(c);
  });
  put(header, 148, octal(static_cast<uint64_t>(sum + field.checksum_off_by), 6));
  header[154] = '\0';
  return header;
}

std::string tar_member(const std::string& name, const std::string& data, const TarField& field) {
  return tar_header(name, data.size(), field) + padded(data);
}

std::string pax_record(const std::string& key, const std::string& value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (length != rest + std::to_string(length).size()) ++length;
  return std::to_string(length) + " " + key + "=" + value + "\n";
}

std::string tar_extension(char type, const std::string& data) {
  return tar_member(
      "extension", type == 'L' || type == 'K' ? data + '\0' : data,
      {.format = type == 'L' || type == 'K' ? TarFormat::kGnu : TarFormat::kUstar, .type = type});
}

std::string tar_end() { return std::string(1024, '\0'); }

}  // namespace largo::data
