// Any bytes are an index of tar shards or of image folders, or an Error, never a crash. What is
// read is written back as the same bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "comm/base/error.h"
#include "trainer/data/folder_index.h"
#include "trainer/data/tar_index.h"

namespace {

template <class Parse>
void check(std::string_view bytes, const Parse& parse) {
  try {
    LARGO_CHECK(encode(parse(bytes)) == bytes, "written back");
  } catch (const largo::Error& error) {
    if (error.code() != largo::ExitCode::kBadData) throw;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check(bytes, largo::data::parse_tar_index);
  check(bytes, largo::data::parse_folder_index);
  return 0;
}
