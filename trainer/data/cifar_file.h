// Reader of the binary files of CIFAR-10 and CIFAR-100: records of one or two label bytes and the
// red, green and blue plane of an image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace largo::data {

constexpr int64_t kCifarSide = 32;
constexpr size_t kCifarValues = 3 * kCifarSide * kCifarSide;  // per image

// The number of classes that each label byte of a record stands for. The last one is the label:
// CIFAR-100 has the coarse one before it.
using CifarLabels = std::vector<int64_t>;

size_t cifar_record_bytes(const CifarLabels& labels);

// The number of records in a file. Throws Error{kBadData}, naming `name`, unless it holds one or
// more whole ones.
size_t count_cifar_records(uint64_t file_bytes, const CifarLabels& labels, const std::string& name);

// Appends the images, in (height, width, channels) order, and their labels. Throws
// Error{kBadData}, naming `name`, record and byte offset.
void parse_cifar(std::span<const uint8_t> file, const CifarLabels& labels, const std::string& name,
                 std::vector<uint8_t>& pixels, std::vector<uint8_t>& classes);

}  // namespace largo::data
