// Reader of IDX files, the format of MNIST and its relatives: a big-endian header (two zero bytes,
// the element type, the number of dimensions, one 32-bit length for each), then the elements.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace largo::data {

// Unsigned bytes, the last dimension running fastest.
struct IdxArray {
  std::vector<int64_t> dims;  // each >= 1
  std::vector<uint8_t> bytes;
};

// `rank` is the number of dimensions that the file must have: 3 for images, 1 for labels. Whether a
// file is gzipped is seen from its content. Memory is only taken for bytes that are there.
// Throws Error{kInputMissing} where there is no such file, and Error{kBadData}, with the expected
// and the found numbers, for everything in it that cannot be right.
IdxArray read_idx(const std::filesystem::path& file, int rank);
IdxArray read_idx(std::istream& in, const std::string& name, int rank);  // `name` is for messages

// The lengths only: a few bytes of the file are read.
std::vector<int64_t> read_idx_dims(const std::filesystem::path& file, int rank);

}  // namespace largo::data
