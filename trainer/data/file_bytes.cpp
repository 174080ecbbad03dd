#include "trainer/data/file_bytes.h"

#include "comm/base/error.h"
#include "trainer/data/byte_source.h"

namespace largo::data {

void read_file_bytes(const std::filesystem::path& path, const std::string& cure,
                     uint64_t most_bytes, std::vector<uint8_t>& bytes) {
  const OpenFile file(path, cure);
  if (file.size() > most_bytes) {
    fail(ExitCode::kBadData, file.name(), ": has ", file.size(), " bytes; legal: at most ",
         most_bytes);
  }
  bytes.resize(file.size());
  if (const size_t got = file.read(0, bytes); got < bytes.size()) {
    fail(ExitCode::kIo, file.name(), ": became shorter while it was read: ", got, " bytes of ",
         bytes.size());
  }
}

}  // namespace largo::data
