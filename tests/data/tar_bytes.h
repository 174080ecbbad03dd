// Made-up tar archives for tests.
#pragma once

#include <cstdint>
#include <string>

namespace largo::data {

enum class TarFormat { kUstar, kGnu, kV7 };

struct TarField {
  TarFormat format = TarFormat::kUstar;
  char type = '0';
  std::string prefix = {};  // kUstar only
  std::string size = {};    // the field's 12 bytes; empty: the data's size in octal digits
  int checksum_off_by = 0;
};

// A header of 512 bytes; names longer than 100 bytes are cut.
std::string tar_header(const std::string& name, uint64_t size, const TarField& field = {});

// Header and data, padded to whole blocks.
std::string tar_member(const std::string& name, const std::string& data,
                       const TarField& field = {});

// One record of a pax header, "LENGTH KEY=VALUE\n".
std::string pax_record(const std::string& key, const std::string& value);

// An extended header: type x or g with records, or L or K with a name and a zero byte.
std::string tar_extension(char type, const std::string& data);

// The zero blocks at the end.
std::string tar_end();

}  // namespace largo::data
