// The safetensors format: named tensors as bytes, readable by PyTorch and others without pickle.
//
// A file is the header's length (64 bits, little endian), the header (JSON: for every tensor dtype,
// shape and where its bytes lie; string pairs under "__metadata__"), then the bytes, row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace largo {

struct TensorBytes {
  std::string name;
  std::string dtype;  // F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // somebody else's memory
};

// Bytes of one element; 0 for a dtype that is not known.
int64_t safetensors_element_bytes(std::string_view dtype);

// A file to be written as `header`, then each of `tensors`. They come in the order of the official
// writer, largest elements first, then by name, which keeps every tensor aligned.
struct SafetensorsFile {
  std::string header;  // with its length in front
  std::vector<TensorBytes> tensors;
};
SafetensorsFile make_safetensors(std::vector<TensorBytes> tensors,
                                 const std::map<std::string, std::string>& metadata);

struct SafetensorsView {
  std::vector<TensorBytes> tensors;  // in the order of their bytes, which point into the file
  std::map<std::string, std::string> metadata;
};

// Reads a file that may have been made by anybody. Throws Error{kBadData}, naming `source` and the
// place, unless the header is a strict JSON object of the known keys, no name comes twice, and the
// tensors' bytes are as many as shape and dtype ask for and fill the file without gap, overlap or
// rest.
SafetensorsView parse_safetensors(std::span<const std::byte> file, const std::string& source);

}  // namespace largo
