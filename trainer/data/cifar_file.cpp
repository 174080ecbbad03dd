#include "trainer/data/cifar_file.h"

#include "comm/base/error.h"

namespace largo::data {

size_t cifar_record_bytes(const CifarLabels& labels) { return labels.size() + kCifarValues; }

size_t count_cifar_records(uint64_t file_bytes, const CifarLabels& labels,
                           const std::string& name) {
  const size_t record = cifar_record_bytes(labels);
  const uint64_t whole = file_bytes / record;
  if (file_bytes == 0) {
    fail(ExitCode::kBadData, name, ": is empty; expected records of ", record, " bytes");
  }
  if (file_bytes % record != 0) {
    fail(ExitCode::kBadData, name, ": expected records of ", record, " bytes, found a file of ",
         file_bytes, ": record ", whole, ", at byte ", whole * record, ", is cut off");
  }
  return whole;
}

void parse_cifar(std::span<const uint8_t> file, const CifarLabels& labels, const std::string& name,
                 std::vector<uint8_t>& pixels, std::vector<uint8_t>& classes) {
  constexpr size_t kPlane = kCifarSide * kCifarSide;
  const size_t records = count_cifar_records(file.size(), labels, name);
  size_t to = pixels.size();
  pixels.resize(to + records * kCifarValues);
  const uint8_t* from = file.data();
  for (size_t record = 0; record < records; ++record) {
    for (const int64_t count : labels) {
      if (*from >= count) {
        fail(ExitCode::kBadData, name, ": record ", record, ", byte ", from - file.data(),
             ": label ", int{*from}, "; legal: 0 ... ", count - 1);
      }
      ++from;
    }
    classes.push_back(from[-1]);
    for (size_t at = 0; at < kPlane; ++at) {
      for (size_t plane = 0; plane < 3; ++plane) pixels[to++] = from[plane * kPlane + at];
    }
    from += kCifarValues;
  }
}

}  // namespace largo::data
