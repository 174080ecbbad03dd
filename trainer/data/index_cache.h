// Indexes of data sets, kept in files so that they need not be made again.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace largo::data {

// Where an index may be kept, the first choice first: beside the data, in the output folder.
// An index belongs to a stamp, bytes that change whenever the data do (names, sizes, times of
// change). Files that are damaged, of another version or of another stamp count as absent.
class IndexCache {
 public:
  IndexCache(std::vector<std::filesystem::path> folders, std::string name);

  std::optional<std::string> load(std::string_view stamp) const;

  // Into the first folder that can be written, which is made where it is missing. False where none
  // can, which is no error: the index is then made again next time.
  bool store(std::string_view stamp, std::string_view index) const noexcept;

 private:
  std::vector<std::filesystem::path> folders_;
  std::string name_;  // of the file
};

}  // namespace largo::data
