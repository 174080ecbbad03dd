// Any bytes are an IDX array or an Error, never a crash. Start: fuzz_idx -rss_limit_mb=2048 CORPUS
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

#include "comm/base/error.h"
#include "trainer/data/idx_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const int rank : {1, 3}) {
    std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
    try {
      largo::data::read_idx(in, "fuzz", rank);
    } catch (const largo::Error& error) {
      if (error.code() != largo::ExitCode::kBadData) throw;
    }
  }
  return 0;
}
