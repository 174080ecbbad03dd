// The JSON in front of a safetensors file, on its own: offsets are not checked against any data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace largo {

constexpr uint64_t kHeaderLengthBytes = 8;  // of the length that stands before the header
constexpr std::string_view kSafetensorsMetadata = "__metadata__";

struct SafetensorsHeader {
  struct Entry {
    std::string name;
    std::string dtype;
    std::vector<int64_t> shape;
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  std::vector<Entry> tensors;  // in the header's order
  std::map<std::string, std::string> metadata;
};

// Strict JSON of the one form that a header has, of dtypes that may be unknown. Throws
// Error{kBadData} with `source` and the byte of the file.
SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& source);

// As a JSON string, quotes included.
std::string json_quoted(std::string_view text);

}  // namespace largo
