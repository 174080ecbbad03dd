// Made-up IDX files for tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace largo::data {

// An IDX file of unsigned bytes, as its bytes.
std::string idx_bytes(const std::vector<uint32_t>& dims, const std::string& elements);

// One gzip member.
std::string gzip(const std::string& bytes);

void write_file(const std::filesystem::path& file, const std::string& bytes);

// A new empty folder under the system's temporary one, removed with everything in it at the end.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace largo::data
